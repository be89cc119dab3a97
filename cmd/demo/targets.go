package main

import (
	"hash/fnv"
	"net/http"
	"strings"

	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// The targets of the tutorial.
const (
	analytics    = "analytics-service"
	notification = "notification-service"
	compliance   = "compliance-service"
)

var targetNames = []string{analytics, notification, compliance}

// scripts are how the targets answer: one is well, one rate-limits now and
// then, one rejects what rejected says.
func scripts(rejected func(eventID string) bool) map[string]devstack.Script {
	return map[string]devstack.Script{
		analytics: func(devstack.Request) devstack.Answer { return devstack.Answer{Status: http.StatusOK} },
		notification: func(r devstack.Request) devstack.Answer {
			if r.Number%20 == 10 {
				return devstack.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Body: "slow down"}
			}
			return devstack.Answer{Status: http.StatusOK}
		},
		compliance: func(r devstack.Request) devstack.Answer {
			if rejected(r.EventID) {
				return devstack.Answer{Status: http.StatusUnprocessableEntity, Body: "the retention class is missing"}
			}
			return devstack.Answer{Status: http.StatusOK}
		},
	}
}

// everyTenth rejects a tenth of all events, always the same ones.
func everyTenth(eventID string) bool {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(eventID)) // never fails
	return sum.Sum32()%10 == 0
}

// listed rejects every tenth of the given events.
func listed(ids []string) map[string]bool {
	rejected := make(map[string]bool)
	for i, id := range ids {
		if i%10 == 9 {
			rejected[event.Escape(id)] = true
		}
	}
	return rejected
}

// targetsFile is a targets.yaml.
func targetsFile(urls map[string]string) string {
	var b strings.Builder
	b.WriteString("targets:\n")
	for _, name := range targetNames {
		b.WriteString("  - name: " + name + "\n    url: " + urls[name] + "/api/events\n")
		if name == notification {
			// Every twentieth request meets a 429, so with the default of three
			// attempts now and then an event would meet nothing else.
			b.WriteString("    max_attempts: 10\n")
		}
	}
	return b.String()
}
