package target

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a targets file.
type Problem struct {
	Path   string // the path of the file
	Line   int    // from 1; 0 if the file could not be read
	Column int    // from 1, in characters; 0 if the file could not be read
	Field  string // such as targets[0].backoff.max; empty if the problem is not about a field
	What   string // what is wrong; never a secret
	Cure   string // what to do about it
	Err    error  // the cause; may be nil
}

// Error returns one line: path:line:column: field: what is wrong; cure.
func (p Problem) Error() string {
	var line strings.Builder
	line.WriteString(p.Path)
	if p.Line > 0 {
		fmt.Fprintf(&line, ":%d:%d", p.Line, p.Column)
	}
	if p.Field != "" {
		line.WriteString(": " + p.Field)
	}
	line.WriteString(": " + p.What + "; " + p.Cure)
	return line.String()
}

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// Problems is everything that is wrong with a targets file, sorted by position.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each Problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
