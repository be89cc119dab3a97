package preflight

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Report runs the checks and prints them to w: a line each as they come, or with
// asJSON one array at the end. The error is that of Verdict, or of w.
func Report(ctx context.Context, w io.Writer, asJSON bool, checks []Check) error {
	var printed error
	tell := func(r Result) {
		if _, err := fmt.Fprintln(w, line(r)); err != nil && printed == nil {
			printed = err
		}
	}
	if asJSON {
		tell = func(Result) {}
	}
	results := Run(ctx, checks, tell)
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		printed = encoder.Encode(results)
	}
	if printed != nil {
		return fmt.Errorf("print what came of the preflight: %w", printed)
	}
	return Verdict(ctx, results)
}

// line is a result as a person reads it.
func line(r Result) string {
	text := fmt.Sprintf("%-8s %s: %s", r.Status, r.Check, r.Detail)
	if r.Cure != "" {
		text += "; " + r.Cure
	}
	return text
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func list(items []string) string { return strings.Join(items, ", ") }
