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

// Targets lists each target's name and redacted URL.
func Targets(set *target.Set) []Setting {
	var list []Setting
	for _, t := range set.All() {
		list = append(list, Setting{Name: t.Name(), Value: t.RedactedURL()})
	}
	return list
}

// Report prints what --check found: the settings in effect, then each target's
// name and redacted URL.
func Report(w io.Writer, name string, settings, targets []Setting) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s %s: settings and files are valid\n\nSettings:\n", name, Version())
	printSettings(table, settings)
	_, _ = fmt.Fprintln(table, "\nTargets:")
	printSettings(table, targets)
	return table.Flush()
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
