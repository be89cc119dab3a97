package main

import (
	"hash/fnv"
	"net/http"
	"strings"

	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// The three targets of the tutorial.
const (
	analytics    = "analytics-service"
	notification = "notification-service"
	compliance   = "compliance-service"
)

var targetNames = []string{analytics, notification, compliance}

// targetScripts returns how the targets answer: analytics accepts every event, notification
// answers every twentieth request with 429, and compliance rejects the events for which
// rejected returns true.
func targetScripts(rejected func(eventID string) bool) map[string]devstack.Script {
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

// inTenth chooses a tenth of all event ids by their hash, so always the same ones.
func inTenth(eventID string) bool {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(eventID)) // never fails
	return sum.Sum32()%10 == 0
}

// everyTenthOf returns every tenth of the given event ids, escaped.
func everyTenthOf(ids []string) map[string]bool {
	rejected := make(map[string]bool)
	for i, id := range ids {
		if i%10 == 9 {
			rejected[event.Escape(id)] = true
		}
	}
	return rejected
}

// targetsYAML returns the content of targets.yaml.
func targetsYAML(urls map[string]string) string {
	var b strings.Builder
	b.WriteString("targets:\n")
	for _, name := range targetNames {
		b.WriteString("  - name: " + name + "\n    url: " + urls[name] + "/api/events\n")
		if name == notification {
			// Every twentieth request is answered with 429. With the default of three
			// attempts, an event might now and then get no other answer.
			b.WriteString("    max_attempts: 10\n")
		}
	}
	return b.String()
}
