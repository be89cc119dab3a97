package main

import (
	"net/url"
	"time"
)

// picture is one file in docs/img.
type picture struct {
	file   string
	height int64                   // in pixels; each is width wide
	page   func(s *scene) string   // address in Temporal UI, under its namespace
	shows  func(s *scene) []string // texts that the page must show first
}

const (
	width     = 1440
	namespace = "default"        // the dev server's only one
	loadsIn   = 30 * time.Second // longest wait for a page
)

var pictures = []picture{
	{
		file: "workflows-failed.png", height: 819,
		page:  func(*scene) string { return list(`ExecutionStatus="Failed"`) },
		shows: func(*scene) []string { return []string{"DeadLetterTargets", "compliance-service"} },
	},
	{
		file: "conversation.png", height: 710,
		page:  func(s *scene) string { return list(`InteractionId="` + s.conversation + `"`) },
		shows: func(s *scene) []string { return []string{s.conversation, "Completed", "compliance-service"} },
	},
	{
		file: "run-failed.png", height: 1090,
		page:  func(s *scene) string { return s.failed.page("history") },
		shows: func(*scene) []string { return []string{"dead-lettered: compliance-service", "RecordDeadLetter", "SDK"} },
	},
	{
		file: "run-details.png", height: 990,
		page:  func(s *scene) string { return s.failed.page("user-metadata") },
		shows: func(*scene) []string { return []string{"Kafka topic", "compliance-service rejected", "SDK"} },
	},
	{
		file: "run-pending.png", height: 830,
		page:  func(s *scene) string { return s.pending.page("pending-activities") },
		shows: func(*scene) []string { return []string{"429 Too Many Requests", "Next Retry", "SDK"} },
	},
}

// columns are those of the list of workflows.
var columns = []string{"Status", "EventType", "InteractionId", "DeadLetterTargets", "Start"}

// list is the page that lists the runs for which query holds.
func list(query string) string { return "workflows?query=" + url.QueryEscape(query) }
