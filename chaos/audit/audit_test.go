package audit

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"genesys-fanout/event"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// at returns a time of the run, in seconds after its begin.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// world returns the facts of a run in which n events went to two targets, one event each second, and
// a message that cannot be decoded was recorded.
func world(n int) Facts {
	f := Facts{Targets: []Target{
		{Name: "analytics", MaxAttempts: 3, Timeout: 5 * time.Second, Always: true},
		{Name: "billing", MaxAttempts: 3, Timeout: 5 * time.Second, Always: true},
	}}
	for i := range n {
		id, published := fmt.Sprintf("event-%d", i), float64(i)
		body := sha256.Sum256([]byte(id))
		f.Messages = append(f.Messages, Message{Partition: int32(i % 2), Offset: int64(i / 2), Kind: Event, EventID: id, SHA256: body})
		f.Runs = append(f.Runs, Run{EventID: id, RunID: "run-" + id, Started: at(published), Closed: at(published + 1), Status: "Completed", Targets: []string{"analytics", "billing"}})
		for _, t := range f.Targets {
			f.Requests = append(f.Requests, Request{
				Target: t.Name, EventID: id, Sender: "ingest-1.1", Attempt: 1,
				At: at(published + 0.1), Answered: at(published + 0.2), Status: 200, SHA256: body,
			})
		}
		f.Commits = append(f.Commits, Commit{At: at(published + 2), Partition: int32(i % 2), Offset: int64(i/2) + 1})
	}
	last := int64((n + 1) / 2)
	f.Messages = append(f.Messages, Message{Partition: 0, Offset: last, Kind: Undecodable, SHA256: sha256.Sum256([]byte("{"))})
	f.Runs = append(f.Runs, Run{EventID: "content", RunID: "run-content", Started: at(float64(n)), Closed: at(float64(n + 1)), Status: "Failed"})
	f.Records = append(f.Records, Record{
		Target: event.UndecodableTarget, EventID: "content", State: Open, Reason: event.ReasonUndecodable,
		At: at(float64(n)), RunID: "run-content", Partition: 0, Offset: last,
	})
	f.Commits = append(f.Commits, Commit{At: at(float64(n + 1)), Partition: 0, Offset: last + 1})
	return f
}

// again delivers event-3 to analytics a second time, at 60 s.
func again(f *Facts) {
	r := f.Requests[6]
	r.Sender, r.Attempt, r.At, r.Answered = "worker-1.1", 2, at(60), at(60.1)
	f.Requests = append(f.Requests, r)
}

func TestJudge_FindsNothingInACorrectRun(t *testing.T) {
	v := Judge(world(10))
	assert.Empty(t, v.Findings)
	assert.Equal(t, 10, v.Events)
	assert.Equal(t, 20, v.Deliveries)
	assert.Zero(t, v.Repeated)
}

// planted are violations that the audit must find, each in a run that is correct otherwise.
func planted() map[Rule]func(f *Facts) {
	rejected := Record{Target: "analytics", EventID: "event-3", State: Open, Reason: event.ReasonRejected, At: at(3.5)}
	return map[Rule]func(f *Facts){
		Lost:           func(f *Facts) { f.Requests[6].Status = 503 },
		Unrecorded:     func(f *Facts) { f.Records = nil },
		CommittedEarly: func(f *Facts) { f.Commits[3].At = at(1.5) },
		Twice:          again,
		AfterCanceled: func(f *Facts) {
			canceled := rejected
			canceled.Reason, canceled.At = event.ReasonCanceled, at(3)
			canceled.State = Superseded
			f.Records = append(f.Records, canceled)
		},
		ResolvedForNothing: func(f *Facts) {
			resolved := rejected
			resolved.State, resolved.ClosedAt = Resolved, at(4)
			f.Requests[6].Status = 422
			f.Records = append(f.Records, resolved)
		},
		OpenAfterDelivery: func(f *Facts) {
			open := rejected
			open.At = at(3)
			f.Records = append(f.Records, open)
		},
		Unknown: func(f *Facts) {
			r := f.Requests[0]
			r.EventID = "nobody's"
			f.Requests = append(f.Requests, r)
		},
		Altered:         func(f *Facts) { f.Requests[6].SHA256 = [32]byte{} },
		TooManyAttempts: func(f *Facts) { f.Requests[6].Attempt = 4 },
		Unwanted: func(f *Facts) {
			f.Targets = append(f.Targets, Target{Name: "archive", MaxAttempts: 3})
			r := f.Requests[6]
			r.Target = "archive"
			f.Requests = append(f.Requests, r)
		},
	}
}

func TestJudge_FindsEachPlantedViolation(t *testing.T) {
	for rule, plant := range planted() {
		t.Run(string(rule), func(t *testing.T) {
			f := world(10)
			plant(&f)
			v := Judge(f)
			require.Len(t, v.Findings, 1)
			assert.Equal(t, rule, v.Findings[0].Rule)
			assert.Equal(t, rule == Lost || rule == Unrecorded, v.Lost() == 1)
		})
	}
}

// A delivery is kept if it is in the tracker or in an open run.
func TestJudge_WhatIsKeptIsNotLost(t *testing.T) {
	for name, keep := range map[string]func(f *Facts){
		"open record": func(f *Facts) {
			f.Records = append(f.Records, Record{Target: "analytics", EventID: "event-3", State: Open})
		},
		"discarded record": func(f *Facts) {
			f.Records = append(f.Records, Record{Target: "analytics", EventID: "event-3", State: Discarded})
		},
		"open run": func(f *Facts) { f.Runs[3].Closed = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			f := world(10)
			planted()[Lost](&f)
			keep(&f)
			assert.Empty(t, Judge(f).Findings)
		})
	}
	t.Run("not a superseded record", func(t *testing.T) {
		f := world(10)
		planted()[Lost](&f)
		f.Records = append(f.Records, Record{Target: "analytics", EventID: "event-3", State: Superseded})
		assert.Equal(t, 1, Judge(f).Lost())
	})
}

// The first delivery of event-3 to analytics is sent by ingest-1.1 at 3.1 s and answered at 3.2 s. The
// second one comes at 60 s.
func TestJudge_ASecondDeliveryNeedsACauseThatFitsIt(t *testing.T) {
	const sender = "ingest-1.1"
	for name, test := range map[string]struct {
		disturbances []Disturbance
		explained    bool
	}{
		"the sender was killed":                  {[]Disturbance{{Cause: Killed, Process: sender, From: at(5)}}, true},
		"another process was killed":             {[]Disturbance{{Cause: Killed, Process: "ingest-2.1", From: at(5)}}, false},
		"the next process of the same name":      {[]Disturbance{{Cause: Killed, Process: "ingest-1.2", From: at(5)}}, false},
		"the sender was killed before it sent":   {[]Disturbance{{Cause: Killed, Process: sender, From: at(3)}}, false},
		"the sender was killed long after":       {[]Disturbance{{Cause: Killed, Process: sender, From: at(30)}}, false},
		"the sender was killed after the second": {[]Disturbance{{Cause: Killed, Process: sender, From: at(61)}}, false},
		"killed long after, Temporal was away": {[]Disturbance{
			{Cause: TemporalAway, From: at(4), To: at(29)}, {Cause: Killed, Process: sender, From: at(30)},
		}, true},
		"the sender was stopped":                     {[]Disturbance{{Cause: Stopped, Process: sender, From: at(5), To: at(6)}}, false},
		"the sender was stopped, Temporal was away":  {[]Disturbance{{Cause: TemporalAway, From: at(3), To: at(8)}, {Cause: Stopped, Process: sender, From: at(30), To: at(31)}}, true},
		"another process was stopped":                {[]Disturbance{{Cause: TemporalAway, From: at(3), To: at(8)}, {Cause: Stopped, Process: "worker-1.1", From: at(30), To: at(31)}}, false},
		"stopped, Temporal was away before the send": {[]Disturbance{{Cause: TemporalAway, From: at(1), To: at(3)}, {Cause: Stopped, Process: sender, From: at(30), To: at(31)}}, false},
		"Temporal was away":                          {[]Disturbance{{Cause: TemporalAway, From: at(3), To: at(58)}}, false},
		"the sender was paused for 30 s":             {[]Disturbance{{Cause: Paused, Process: sender, From: at(9), To: at(39)}}, true},
		"the sender was paused for 19 s, later":      {[]Disturbance{{Cause: Paused, Process: sender, From: at(9), To: at(28)}}, false},
		"the sender was paused in the request":       {[]Disturbance{{Cause: Paused, Process: sender, From: at(3.15), To: at(9)}}, true},
		"the sender was paused a minute later":       {[]Disturbance{{Cause: Paused, Process: sender, From: at(20), To: at(50)}}, false},
		"the sender was cut off for 25 s":            {[]Disturbance{{Cause: CutOff, Process: sender, From: at(3), To: at(28)}}, true},
		"the sender was cut off for 15 s":            {[]Disturbance{{Cause: CutOff, Process: sender, From: at(3), To: at(18)}}, false},
		"another process was cut off":                {[]Disturbance{{Cause: CutOff, Process: "worker-1.1", From: at(3), To: at(28)}}, false},
		"the network to the target":                  {[]Disturbance{{Cause: TargetNetwork, Process: sender, Target: "analytics", From: at(3), To: at(9)}}, true},
		"the network to another target":              {[]Disturbance{{Cause: TargetNetwork, Process: sender, Target: "billing", From: at(3), To: at(9)}}, false},
		"the network of another process":             {[]Disturbance{{Cause: TargetNetwork, Process: "worker-1.1", Target: "analytics", From: at(3), To: at(9)}}, false},
		"the network, later":                         {[]Disturbance{{Cause: TargetNetwork, Process: sender, Target: "analytics", From: at(20), To: at(29)}}, false},
		"Temporal was restored":                      {[]Disturbance{{Cause: TemporalRestored, From: at(1), To: at(50)}}, true},
		"Temporal was restored from a later dump":    {[]Disturbance{{Cause: TemporalRestored, From: at(20), To: at(50)}}, false},
		"Temporal was restored after both":           {[]Disturbance{{Cause: TemporalRestored, From: at(1), To: at(70)}}, false},
		"an operator reset the open run":             {[]Disturbance{{Cause: ResetOfOpenRun, EventID: "event-3", From: at(40)}}, true},
		"an operator reset another run":              {[]Disturbance{{Cause: ResetOfOpenRun, EventID: "event-4", From: at(40)}}, false},
		"an operator reset the activity":             {[]Disturbance{{Cause: ActivityReset, EventID: "event-3", Target: "analytics", From: at(40)}}, true},
		"an operator reset the other activity":       {[]Disturbance{{Cause: ActivityReset, EventID: "event-3", Target: "billing", From: at(40)}}, false},
		"an operator reset the run before it sent":   {[]Disturbance{{Cause: ResetOfOpenRun, EventID: "event-3", From: at(1)}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := world(10)
			again(&f)
			f.Disturbances = test.disturbances
			v := Judge(f)
			assert.Equal(t, 1, v.Repeated)
			if test.explained {
				assert.Empty(t, v.Findings)
				assert.Len(t, v.Causes, 1)
				return
			}
			require.Len(t, v.Findings, 1)
			assert.Equal(t, Twice, v.Findings[0].Rule)
		})
	}
	t.Run("the target answered too late", func(t *testing.T) {
		f := world(10)
		again(&f)
		f.Requests[6].Answered = at(8.5)
		v := Judge(f)
		assert.Empty(t, v.Findings)
		assert.Equal(t, map[Cause]int{TooLate: 1}, v.Causes)
	})
}

// A commit is judged by when Temporal got the last of the messages before it, in whichever order it
// got them.
func TestJudge_JudgesTheWholePrefixOfACommit(t *testing.T) {
	f := world(10)
	f.Runs[0].Started = at(3.5) // after the commit at 2 s, and that at 4 s is right
	v := Judge(f)
	require.Len(t, v.Findings, 1)
	assert.Equal(t, CommittedEarly, v.Findings[0].Rule)
	assert.Equal(t, "event-0", v.Findings[0].EventID)
	f.Disturbances = []Disturbance{{Cause: TemporalRestored, From: at(1), To: at(3.4)}}
	assert.Empty(t, Judge(f).Findings, "Temporal has forgotten an earlier run of the event")
}

// In a run of any size, each planted violation is found, also if there are several.
func TestJudge_FindsAnyPlantedViolations(t *testing.T) {
	rules := sortedRules()
	rapid.Check(t, func(rt *rapid.T) {
		f := world(rapid.IntRange(6, 40).Draw(rt, "events"))
		// Violations that concern the same request would hide each other.
		rule := rapid.SampledFrom(rules).Draw(rt, "rule")
		planted()[rule](&f)
		if rule != CommittedEarly && rapid.Bool().Draw(rt, "a commit too") {
			planted()[CommittedEarly](&f)
		}
		found := make(map[Rule]bool)
		for _, finding := range Judge(f).Findings {
			found[finding.Rule] = true
		}
		if !found[rule] {
			rt.Fatalf("%s is not found", rule)
		}
	})
}

func sortedRules() []Rule {
	var rules []Rule
	for rule := range planted() {
		rules = append(rules, rule)
	}
	slices.Sort(rules)
	return rules
}
