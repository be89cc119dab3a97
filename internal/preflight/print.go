package preflight

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Report makes the checks and prints the results to w: one line for each as soon as it is
// known, or one JSON array at the end if asJSON is true. The error is that of FailedChecks, or
// that of w.
func Report(ctx context.Context, w io.Writer, asJSON bool, checks []Check) error {
	var printed error
	emit := func(r Result) {
		if _, err := fmt.Fprintln(w, r.line()); err != nil && printed == nil {
			printed = err
		}
	}
	if asJSON {
		emit = func(Result) {}
	}
	results := Run(ctx, checks, emit)
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		printed = encoder.Encode(results)
	}
	if printed != nil {
		return fmt.Errorf("print the results of the preflight: %w", printed)
	}
	return FailedChecks(ctx, results)
}

// line returns the line of the output that describes the result.
func (r Result) line() string {
	text := fmt.Sprintf("%-8s %s: %s", r.Status, r.Check, r.Detail)
	if r.Cure != "" {
		text += "; " + r.Cure
	}
	return text
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
