package process

import (
	"fmt"
	"io"
	"text/tabwriter"

	"genesys-fanout/target"
)

// Setting is a name with the value that is in effect.
type Setting struct{ Name, Value string }

// SettingsInEffect lists the settings as Report prints them, in the order of
// their declaration; of a secret it says only whether it is set.
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

// Report prints the result of --check: the settings in effect, each target's name
// and redacted URL, and a warning for each setting of the targets file that may
// surprise, one per line.
func Report(w io.Writer, name string, settings []Setting, targets *target.Set) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s %s: settings and files are valid\n\nSettings:\n", name, Version())
	printSettings(table, settings)
	_, _ = fmt.Fprintln(table, "\nTargets:")
	for _, t := range targets.All() {
		printSettings(table, []Setting{{Name: t.Name(), Value: t.RedactedURL()}})
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
