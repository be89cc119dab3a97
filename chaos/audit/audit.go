package audit

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"genesys-fanout/event"
)

// Rule is a part of the promise.
type Rule string

// The rules. Lost and Unrecorded are losses.
const (
	Lost               Rule = "lost"                 // neither delivered, nor in the tracker, nor in an open run
	Unrecorded         Rule = "unrecorded"           // a message that is no event has no record
	CommittedEarly     Rule = "committed early"      // the offset was committed before Temporal had the message
	Twice              Rule = "twice"                // delivered again without a cause
	AfterCanceled      Rule = "after canceled"       // sent after a record said that the delivery is canceled
	ResolvedForNothing Rule = "resolved for nothing" // a record is resolved although nothing was delivered
	OpenAfterDelivery  Rule = "open after delivery"  // a record is open although the event was delivered after it
	Unknown            Rule = "unknown"              // sent for an event that nobody produced
	Altered            Rule = "altered"              // the body is not the message
	TooManyAttempts    Rule = "too many attempts"    // more than max_attempts
	Unwanted           Rule = "unwanted"             // sent to a target that no run of the event names
)

// Finding is a violation of a rule.
type Finding struct {
	Rule    Rule
	EventID string
	Target  string
	Text    string // what was seen
}

// Verdict is the result of an audit.
type Verdict struct {
	Findings   []Finding
	Events     int           // different events
	Deliveries int           // event × target, delivered at least once
	Repeated   int           // deliveries beyond the first of an event × target
	Causes     map[Cause]int // of the repeated deliveries that have a cause
}

// Lost returns the number of losses among the findings.
func (v Verdict) Lost() int {
	n := 0
	for _, f := range v.Findings {
		if f.Rule == Lost || f.Rule == Unrecorded {
			n++
		}
	}
	return n
}

// delivery is one event for one target.
type delivery struct{ eventID, target string }

// judge holds the facts by what they are about.
type judge struct {
	facts     Facts
	verdict   Verdict
	targets   map[string]Target
	bodies    map[string]map[string]bool // the bodies of each event's messages, by the event's id
	requests  map[delivery][]Request
	records   map[delivery][]Record
	runs      map[string][]Run // by the event's id
	positions map[position]Record
}

type position struct {
	partition int32
	offset    int64
}

// Judge compares the facts with the promise.
func Judge(f Facts) Verdict {
	j := &judge{
		facts: f, verdict: Verdict{Causes: make(map[Cause]int)}, targets: make(map[string]Target), bodies: make(map[string]map[string]bool),
		requests: make(map[delivery][]Request), records: make(map[delivery][]Record), runs: make(map[string][]Run), positions: make(map[position]Record),
	}
	j.index()
	for _, id := range sortedKeys(j.bodies) {
		for _, name := range sortedKeys(j.targets) {
			j.judgeDelivery(delivery{id, name})
		}
	}
	j.verdict.Events = len(j.bodies)
	j.judgeRequests()
	j.judgeUndeliverable()
	j.judgeCommits()
	return j.verdict
}

func (j *judge) index() {
	for _, t := range j.facts.Targets {
		j.targets[t.Name] = t
	}
	for _, m := range j.facts.Messages {
		if m.Kind == Event {
			if j.bodies[m.EventID] == nil {
				j.bodies[m.EventID] = make(map[string]bool)
			}
			j.bodies[m.EventID][string(m.SHA256[:])] = true
		}
	}
	for _, r := range j.facts.Requests {
		key := delivery{r.EventID, r.Target}
		j.requests[key] = append(j.requests[key], r)
	}
	for _, list := range j.requests {
		slices.SortStableFunc(list, func(a, b Request) int { return a.At.Compare(b.At) })
	}
	for _, r := range j.facts.Records {
		key := delivery{r.EventID, r.Target}
		j.records[key] = append(j.records[key], r)
		if slices.Contains(event.ReservedTargets(), r.Target) {
			j.positions[position{r.Partition, r.Offset}] = r
		}
	}
	for _, r := range j.facts.Runs {
		j.runs[r.EventID] = append(j.runs[r.EventID], r)
	}
}

func (j *judge) find(rule Rule, d delivery, format string, args ...any) {
	j.verdict.Findings = append(j.verdict.Findings, Finding{rule, d.eventID, d.target, fmt.Sprintf(format, args...)})
}

func (j *judge) judgeDelivery(d delivery) {
	var delivered []Request
	for _, r := range j.requests[d] {
		if r.Delivered() {
			delivered = append(delivered, r)
		}
	}
	if len(delivered) > 0 {
		j.verdict.Deliveries++
		j.verdict.Repeated += len(delivered) - 1
	}
	wanted := j.wants(d)
	if !wanted && len(j.requests[d]) > 0 {
		j.find(Unwanted, d, "%d requests, but no run of the event names the target", len(j.requests[d]))
	}
	if wanted && len(delivered) == 0 && !j.isKept(d) {
		j.find(Lost, d, "no target's answer, no record and no open run; %s", j.describeRuns(d.eventID))
	}
	for i := 1; i < len(delivered); i++ {
		if cause, ok := j.causeOf(delivered[i-1], delivered[i]); ok {
			j.verdict.Causes[cause]++
		} else {
			j.find(Twice, d, "delivered at %s by %s (attempt %d) and again at %s by %s (attempt %d)",
				clock(delivered[i-1].At), delivered[i-1].Sender, delivered[i-1].Attempt, clock(delivered[i].At), delivered[i].Sender, delivered[i].Attempt)
		}
	}
	for _, record := range j.records[d] {
		j.judgeRecord(d, record, delivered)
	}
}

// wants reports whether the event must go to the target.
func (j *judge) wants(d delivery) bool {
	return j.targets[d.target].Always || slices.ContainsFunc(j.runs[d.eventID], func(r Run) bool { return slices.Contains(r.Targets, d.target) })
}

// isKept reports whether the delivery is in the tracker or in an open run. A superseded record alone
// does not keep it, because something must have followed.
func (j *judge) isKept(d delivery) bool {
	return slices.ContainsFunc(j.records[d], func(r Record) bool { return r.State != Superseded }) ||
		slices.ContainsFunc(j.runs[d.eventID], func(r Run) bool { return r.Closed.IsZero() })
}

func (j *judge) describeRuns(eventID string) string {
	if len(j.runs[eventID]) == 0 {
		return "Temporal has no run"
	}
	var statuses []string
	for _, r := range j.runs[eventID] {
		statuses = append(statuses, r.Status)
	}
	return "runs: " + strings.Join(statuses, ", ")
}

func (j *judge) judgeRecord(d delivery, record Record, delivered []Request) {
	if record.State == Resolved && !slices.ContainsFunc(delivered, func(r Request) bool { return r.At.Before(record.ClosedAt.Add(clockSlack)) }) {
		j.find(ResolvedForNothing, d, "resolved at %s, but the target accepted nothing before", clock(record.ClosedAt))
	}
	if record.State == Open {
		for _, r := range delivered {
			if r.At.After(record.At) && !j.explainsOpen(record, r) {
				j.find(OpenAfterDelivery, d, "the record of %s is open, but %s delivered at %s", clock(record.At), r.Sender, clock(r.At))
				break
			}
		}
	}
	if record.Reason != event.ReasonCanceled {
		return
	}
	for _, r := range j.requests[d] {
		rerun := func(run Run) bool { return run.Started.After(record.At) && !run.Started.After(r.At) }
		if r.At.After(record.At) && !slices.ContainsFunc(j.runs[d.eventID], rerun) {
			j.find(AfterCanceled, d, "canceled at %s, but %s sent a request at %s", clock(record.At), r.Sender, clock(r.At))
			break
		}
	}
}

// clockSlack is how much the times of two processes may differ, because each reads the clock at
// another moment.
const clockSlack = time.Second

// explainsOpen reports why a record may be open although a request delivered the event after it: the
// request's process did not know of the record, because it had counted as killed, or because
// Temporal had forgotten the run of the record.
func (j *judge) explainsOpen(record Record, r Request) bool {
	return slices.ContainsFunc(j.facts.Disturbances, func(x Disturbance) bool {
		switch x.Cause {
		case Paused, CutOff:
			return x.Process == r.Sender && x.To.Sub(x.From) >= silenceLimit && x.From.Before(r.At) && record.At.Before(x.To.Add(durableWithin))
		case TemporalRestored:
			return record.At.Before(x.To) && r.At.After(x.From)
		}
		return false
	})
}

func (j *judge) judgeRequests() {
	for _, r := range j.facts.Requests {
		d := delivery{r.EventID, r.Target}
		switch bodies, ok := j.bodies[r.EventID]; {
		case !ok:
			j.find(Unknown, d, "%s sent a request at %s", r.Sender, clock(r.At))
		case !bodies[string(r.SHA256[:])]:
			j.find(Altered, d, "%s sent another body at %s", r.Sender, clock(r.At))
		}
		if most := j.targets[r.Target].MaxAttempts; r.Attempt > most {
			j.find(TooManyAttempts, d, "%s sent attempt %d of %d at %s", r.Sender, r.Attempt, most, clock(r.At))
		}
	}
}

// judgeUndeliverable checks that each message that is no event has a record. Messages with the same
// bytes may share one, because their bytes are their identity.
func (j *judge) judgeUndeliverable() {
	recorded := make(map[string]bool)
	for _, m := range j.facts.Messages {
		if _, ok := j.positions[position{m.Partition, m.Offset}]; ok {
			recorded[string(m.SHA256[:])] = true
		}
	}
	for _, m := range j.facts.Messages {
		if m.Kind != Event && m.Kind != Tombstone && !recorded[string(m.SHA256[:])] {
			j.find(Unrecorded, delivery{m.EventID, "_" + string(m.Kind)}, "partition %d, offset %d", m.Partition, m.Offset)
		}
	}
}

// judgeCommits checks that at the time of each sample Temporal had every message below the offset.
func (j *judge) judgeCommits() {
	for partition, messages := range j.messagesByPartition() {
		// latest[i] is the index of the message that Temporal got last among the first i+1.
		latest := make([]int, len(messages))
		held := make([]time.Time, len(messages))
		for i, m := range messages {
			held[i] = j.heldAt(m)
			latest[i] = i
			if i > 0 && !held[i].After(held[latest[i-1]]) {
				latest[i] = latest[i-1]
			}
		}
		for _, c := range j.facts.Commits {
			if c.Partition != partition || j.forgotten(c.At) {
				continue
			}
			n := sort.Search(len(messages), func(i int) bool { return messages[i].Offset >= c.Offset })
			if n == 0 {
				continue
			}
			if last := latest[n-1]; held[last].After(c.At.Add(clockSlack)) {
				m := messages[last]
				j.find(CommittedEarly, delivery{eventID: m.EventID}, "partition %d was committed to %d at %s, but offset %d was started %s", partition, c.Offset, clock(c.At), m.Offset, whenHeld(held[last]))
				break
			}
		}
	}
}

// forgotten reports whether Temporal has forgotten the runs that it had at that time.
func (j *judge) forgotten(at time.Time) bool {
	return slices.ContainsFunc(j.facts.Disturbances, func(x Disturbance) bool {
		return x.Cause == TemporalRestored && at.After(x.From.Add(-clockSlack)) && at.Before(x.To)
	})
}

// never is later than every sample.
var never = time.Unix(1<<40, 0)

func whenHeld(at time.Time) string {
	if at.Equal(never) {
		return "never"
	}
	return "at " + clock(at)
}

// heldAt returns the time since which Temporal has a message.
func (j *judge) heldAt(m Message) time.Time {
	if m.Kind == Tombstone {
		return time.Time{}
	}
	id := m.EventID
	if m.Kind != Event {
		record, ok := j.positions[position{m.Partition, m.Offset}]
		if !ok {
			return time.Time{} // an equal message before it has the record, or judgeUndeliverable reports it
		}
		id = record.EventID
	}
	at := never
	for _, r := range j.runs[id] {
		if r.Started.Before(at) {
			at = r.Started
		}
	}
	return at
}

func (j *judge) messagesByPartition() map[int32][]Message {
	by := make(map[int32][]Message)
	for _, m := range j.facts.Messages {
		by[m.Partition] = append(by[m.Partition], m)
	}
	for _, list := range by {
		slices.SortFunc(list, func(a, b Message) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return by
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
