package process

import (
	"fmt"
	"io"
	"text/tabwriter"

	"genesys-fanout/target"
)

// Setting is the name of a setting and its value as --check prints it.
type Setting struct{ Name, Value string }

// SettingsInEffect returns the settings for Report, in the order in which the struct declares
// them. The value of a secret says only whether the secret is set.
func SettingsInEffect(settings Settings) []Setting {
	var list []Setting
	for _, field := range fieldsOf(settings) {
		value := field.value
		if field.secret != nil {
			value = presence(field.secret.IsSet())
		}
		list = append(list, Setting{Name: field.variable, Value: value})
	}
	return list
}

func presence(set bool) string {
	if set {
		return "(set)"
	}
	return "(not set)"
}

// Report prints the result of --check to w. It has one line for each setting, one for each
// target with the target's name, its redacted URL and its state unless that is active, and one
// for each warning about the targets file.
func Report(w io.Writer, name string, settings []Setting, targets *target.Set) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s %s: settings and files are valid\n\nSettings:\n", name, Version())
	printSettings(table, settings)
	_, _ = fmt.Fprintln(table, "\nTargets:")
	for _, t := range targets.All() {
		value := t.RedactedURL()
		if t.State != target.Active {
			value += " (" + string(t.State) + ")"
		}
		printSettings(table, []Setting{{Name: t.Name(), Value: value}})
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i, warning := range targets.Warnings() {
		if i == 0 {
			_, _ = fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintln(w, "warning:", warning.Error()); err != nil {
			return err
		}
	}
	return nil
}

func printSettings(w io.Writer, settings []Setting) {
	for _, setting := range settings {
		value := setting.Value
		if value == "" {
			value = "(not set)"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", setting.Name, value)
	}
}
