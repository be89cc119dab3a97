package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// targetResult is the result of the events at one target, by escaped event id.
type targetResult struct {
	delivered   map[string]int  // how many requests were answered with 2xx
	requested   map[string]bool // events with any request
	deadLetters map[string]bool // events with an open record
}

// resultOf returns the result of a target, from its requests and the open records in dir.
func resultOf(name string, target *devstack.Target, dir string, ids []string) targetResult {
	result := targetResult{delivered: make(map[string]int), requested: make(map[string]bool), deadLetters: make(map[string]bool)}
	for _, r := range target.Requests() {
		result.requested[r.EventID] = true
		if r.Status >= 200 && r.Status <= 299 {
			result.delivered[r.EventID]++
		}
	}
	for _, id := range ids {
		if _, err := os.Stat(filepath.Join(dir, deadletter.FileName(name, id))); err == nil {
			result.deadLetters[event.Escape(id)] = true
		}
	}
	return result
}

// retrying returns the number of events that were sent, and are neither delivered nor dead
// letters.
func (r targetResult) retrying() int {
	n := 0
	for id := range r.requested {
		if r.delivered[id] == 0 && !r.deadLetters[id] {
			n++
		}
	}
	return n
}

// done returns the number of events that are delivered or dead letters.
func (r targetResult) done() int {
	n := len(r.delivered)
	for id := range r.deadLetters {
		if r.delivered[id] == 0 {
			n++
		}
	}
	return n
}

// check returns the problems of a target: each event must be delivered exactly once, or be a
// dead letter if the target rejects it.
func (r targetResult) check(name string, ids []string, rejected map[string]bool) []string {
	var problems []string
	for _, id := range ids {
		id = event.Escape(id)
		deliveries, deadLetter := 1, false
		if name == compliance && rejected[id] {
			deliveries, deadLetter = 0, true
		}
		if r.delivered[id] != deliveries {
			problems = append(problems, fmt.Sprintf("%s: event %s was delivered %d times, want %d", name, id, r.delivered[id], deliveries))
		}
		if r.deadLetters[id] != deadLetter {
			problems = append(problems, fmt.Sprintf("%s: event %s has a dead letter: %t, want %t", name, id, r.deadLetters[id], deadLetter))
		}
	}
	for id := range r.requested {
		if !slices.ContainsFunc(ids, func(published string) bool { return event.Escape(published) == id }) {
			problems = append(problems, fmt.Sprintf("%s: event %s was never published", name, id))
		}
	}
	return problems
}

// readRecords reads every open record in dir, by file name. A file that is not a record gives
// the zero Record.
func readRecords(dir string) (map[string]deadletter.Record, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	records := make(map[string]deadletter.Record)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var record deadletter.Record
		_ = json.Unmarshal(text, &record) // checkRecords reports the fields that are missing
		records[filepath.Base(file)] = record
	}
	return records, nil
}

// checkRecords returns the problems of the dead letters: there must be one for each rejected
// event, with the target's answer, and no other.
func checkRecords(records map[string]deadletter.Record, ids []string, rejected map[string]bool) []string {
	var problems []string
	expected := make(map[string]bool)
	for _, id := range ids {
		if !rejected[event.Escape(id)] {
			continue
		}
		name := deadletter.FileName(compliance, id)
		expected[name] = true
		record, found := records[name]
		if !found {
			problems = append(problems, fmt.Sprintf("dead letter %s is missing", name))
		} else if record.EventID != id || record.Reason != event.ReasonRejected || record.StatusCode != http.StatusUnprocessableEntity {
			problems = append(problems, fmt.Sprintf("dead letter %s has event %q, reason %q, status %d; want event %q, reason %q, status %d",
				name, record.EventID, record.Reason, record.StatusCode, id, event.ReasonRejected, http.StatusUnprocessableEntity))
		}
	}
	for name := range records {
		if !expected[name] {
			problems = append(problems, fmt.Sprintf("dead letter %s is not expected", name))
		}
	}
	return problems
}

// checkRuns returns the problems of the numbers of runs by status. There must be one run for
// each event, and a run must have failed if a target rejected its event.
func checkRuns(runs map[string]int, total, failed int) []string {
	var problems []string
	if runs["Failed"] != failed {
		problems = append(problems, fmt.Sprintf("Temporal: %d runs failed, want %d", runs["Failed"], failed))
	}
	if runs["Completed"] != total-failed {
		problems = append(problems, fmt.Sprintf("Temporal: %d runs completed, want %d", runs["Completed"], total-failed))
	}
	return problems
}

// maxProblems is the most problems that are printed.
const maxProblems = 20

func limitProblems(problems []string) []string {
	if len(problems) <= maxProblems {
		return problems
	}
	return append(problems[:maxProblems:maxProblems], fmt.Sprintf("… and %d more", len(problems)-maxProblems))
}
