package target

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"genesys-fanout/event"
)

// Set is the targets of one targets.yaml. It does not change, and any number of
// goroutines may use it.
type Set struct {
	targets  []*Target
	byName   map[string]*Target
	warnings Problems
}

func newSet(targets []*Target) *Set {
	s := &Set{targets: targets, byName: make(map[string]*Target, len(targets))}
	for _, t := range targets {
		s.byName[t.Name()] = t
	}
	return s
}

// All returns every target, the retired too, in the order of the file.
func (s *Set) All() []*Target { return slices.Clone(s.targets) }

// Get finds a target by its name.
func (s *Set) Get(name string) (*Target, bool) {
	t, ok := s.byName[name]
	return t, ok
}

// Warnings names the settings of the file that are legal and may surprise, with
// their cures, sorted by position.
func (s *Set) Warnings() Problems { return slices.Clone(s.warnings) }

// Redact replaces the secrets of every target in a text.
func (s *Set) Redact(text string) string {
	for _, t := range s.targets {
		text = t.Redact(text)
	}
	return text
}

// LongestTimeout is the longest that one attempt at any of the targets may take.
func (s *Set) LongestTimeout() time.Duration {
	var longest time.Duration
	for _, t := range s.targets {
		longest = max(longest, time.Duration(t.Policy.Timeout))
	}
	return longest
}

// Choose returns the policies of the targets that want the event, in the order
// of the file: those that are active or paused and whose `when` matches. An
// evaluation error counts as a match, because a target can ignore an event too many
// and cannot miss one that it never gets.
func (s *Set) Choose(ev event.Event) []Policy {
	var chosen []Policy
	vars := &variables{event: &ev}
	for _, t := range s.targets {
		if t.State != Retired && t.when.matches(vars) {
			chosen = append(chosen, t.Policy)
		}
	}
	return chosen
}

// String lists the names.
func (s Set) String() string {
	names := make([]string, len(s.targets))
	for i, t := range s.targets {
		names[i] = t.Name()
	}
	return strings.Join(names, ", ")
}

// Format prints String for every verb, because fmt does not call the methods of
// targets in unexported fields.
func (s Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
