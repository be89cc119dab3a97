package fanout

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// If a run is open while a process is upgraded, the new version has to read the payloads that the
// older version wrote.
func TestPayloads_HaveTheCommittedJSON(t *testing.T) {
	at := time.Date(2026, 3, 14, 12, 30, 0, 0, time.UTC)
	policy := target.Policy{Target: "analytics-service", FastLane: true}.Normalized()
	message := event.Message{
		Event: event.Event{
			ID: "evt-1", Type: "conversation.started", InteractionID: "conv-1", ChannelType: "voice", Status: "active",
			Format: event.Flat, PublishedAt: at,
		},
		Body:   event.Body(`{"event_id":"evt-1"}`),
		Source: event.Source{Topic: "events", Partition: 3, Offset: 42},
	}
	progress := Progress{Attempts: 2, StatusCode: 503, Error: "503 Service Unavailable"}
	begun := progress.Begin(Request{Process: "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01", Number: 7})
	state := TargetState{ClosedUntil: at, LastFailure: at}
	outcome := Outcome{Verdict: Retry, Progress: progress, NotBefore: at, Wait: Wait{Least: target.Duration(time.Minute), Why: "the backoff"}, TargetState: state}
	trackers := map[string]string{"analytics-service": "tracker-1"}
	location := RecordLocation{Tracker: "tracker-1", Unknown: true}

	for name, payload := range map[string]any{
		"Input": Input{Message: message, Targets: []target.Policy{policy}, SearchAttributes: true},
		"Input-undeliverable": Input{
			Message: message, Undeliverable: &Undeliverable{Reason: event.ReasonConflict, Error: "the event id evt-1 belongs to another event"},
		},
		"Result":                  Result{Delivered: []string{"analytics-service"}},
		"DeliverInput":            DeliverInput{Message: message, Policy: policy, Progress: progress, NotBefore: at, TargetState: state},
		"DeliverResult":           DeliverResult{Outcome: outcome},
		"FirstAttemptResult":      FirstAttemptResult{Outcome: outcome},
		"RecallInput":             RecallInput{Target: "analytics-service", RunID: "0b6f3c5e-5f0e-4a56-9f0a-3f1d5a6f7c11", Number: 7},
		"RecallResult":            RecallResult{Sent: true, Outcome: outcome},
		"FirstTaskResult":         FirstTaskResult{Process: "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01"},
		"Progress-in-flight":      begun,
		"LastProgressInput":       LastProgressInput{Target: "analytics-service"},
		"LastProgressResult":      LastProgressResult{Progress: progress},
		"RecordDeadLetterInput":   RecordDeadLetterInput{Target: "analytics-service", Reason: event.ReasonExhausted, Progress: progress, Message: message, NoBody: true, At: at, RecordLocation: location},
		"RecordDeadLetterResult":  RecordDeadLetterResult{Tracker: "tracker-1"},
		"OutstandingInput":        OutstandingInput{Event: message.Event, Targets: []string{"analytics-service"}, TrackersKnown: true, Trackers: trackers},
		"OutstandingResult":       OutstandingResult{Settled: true, Targets: []string{"analytics-service"}, Tracker: "tracker-1", Elsewhere: map[string]string{"crm": "tracker-2"}},
		"ResolveDeadLetterInput":  ResolveDeadLetterInput{Target: "analytics-service", Event: message.Event, At: at, RecordLocation: location},
		"ResolveDeadLetterResult": ResolveDeadLetterResult{Damaged: "the file holds no record", Tracker: "tracker-1"},
		"DeadLetteredDetails":     DeadLetteredDetails{Trackers: trackers},
		"DeliveryStatus":          DeliveryStatus{Target: "analytics-service", State: StateDeadLetter, Reason: event.ReasonRejected, Attempts: 1, StatusCode: 422, Error: "422"},
	} {
		encoded, err := DataConverter().ToPayload(payload)
		require.NoError(t, err)
		var document any
		require.NoError(t, json.Unmarshal(encoded.GetData(), &document))
		got, err := json.MarshalIndent(document, "", "  ")
		require.NoError(t, err)
		file := filepath.Join("testdata", "payloads", name+".json")
		if *update {
			require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o600))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err, "run: go test ./fanout -update")
		assert.JSONEq(t, string(want), string(got), name)
	}
}
