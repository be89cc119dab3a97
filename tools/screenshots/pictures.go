package main

import (
	"net/url"
	"time"
)

// picture is one file in docs/img.
type picture struct {
	file   string
	height int64                   // in pixels
	page   func(s *scene) string   // the path in Temporal UI, below the namespace
	shows  func(s *scene) []string // the texts that the page must show before the picture is taken
}

const (
	width       = 1440             // of every picture, in pixels
	pageTimeout = 30 * time.Second // the longest wait for a page
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

// columns are the columns of the list of workflows.
var columns = []string{"Status", "EventType", "InteractionId", "DeadLetterTargets", "Start"}

// list returns the path of the page that lists the runs that match the query.
func list(query string) string { return "workflows?query=" + url.QueryEscape(query) }
