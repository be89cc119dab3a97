package target

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/internal/redact"
)

// Set contains the targets of one targets.yaml. It does not change, so any number of
// goroutines may use it.
type Set struct {
	targets  []*Target
	byName   map[string]*Target
	warnings Problems
	redactor redact.Redactor
}

func newSet(targets []*Target) *Set {
	s := &Set{targets: targets, byName: make(map[string]*Target, len(targets))}
	var secrets []string
	for _, t := range targets {
		s.byName[t.Name()] = t
		secrets = append(secrets, t.allSecrets()...)
	}
	s.redactor = redact.New(secrets...)
	return s
}

// All returns every target in the order of the file, including the retired ones.
func (s *Set) All() []*Target { return slices.Clone(s.targets) }

// Get returns the target of that name.
func (s *Set) Get(name string) (*Target, bool) {
	t, ok := s.byName[name]
	return t, ok
}

// Warnings returns the settings of the file that are legal but may have a surprising effect,
// each with its cure, sorted by position.
func (s *Set) Warnings() Problems { return slices.Clone(s.warnings) }

// Redact replaces the secrets of every target in a text.
func (s *Set) Redact(text string) string { return s.redactor.String(text) }

// LongestTimeout returns the longest timeout of one attempt at any of the targets.
func (s *Set) LongestTimeout() time.Duration {
	var longest time.Duration
	for _, t := range s.targets {
		longest = max(longest, time.Duration(t.Policy.Timeout))
	}
	return longest
}

// Choose returns the policies of the targets that want the event, in the order of the file.
// Those are the targets that are active or paused and whose `when` matches. An evaluation
// error counts as a match, because a target can ignore an event that it does not want, but it
// cannot notice an event that it never gets.
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

// String lists the names of the targets.
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

// MarshalText returns String, so that no secret is marshalled.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
