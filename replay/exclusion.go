package replay

import (
	"fmt"
	"slices"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Excluded is a number of records that are not sent again, all for the same reason.
type Excluded struct {
	Target  string // empty for damaged files
	Why     string
	Cure    string
	Records int
}

// String returns a line for people: how many records are not sent, why, and what to do.
func (e Excluded) String() string {
	name := event.Escape(e.Target)
	if name == "" {
		name = "damaged"
	}
	return fmt.Sprintf("%s: %d not sent: %s; %s", name, e.Records, e.Why, e.Cure)
}

// exclusion is the reason why one record is not sent.
type exclusion struct {
	target, why, cure string

	line    string // names this record; empty if its target and why say enough
	damaged bool
}

// The cures for messages that cannot be sent to any target.
const (
	undecodableCure = "decode payload_base64 of the record (base64 -d) or read the message in Kafka, and correct the producer; then close the record with deadletter discard"
	oversizeCure    = "take the message from Kafka to its targets by hand, or make the producer send less; then close the record with deadletter discard"
	conflictCure    = event.ConflictCure + "; send the payload to its targets by hand; then close the record with deadletter discard"
)

// exclusion returns why a record is not sent; excluded is false if it can be sent. damaged
// is not nil if the record's file cannot be read.
func (s Selection) exclusion(r deadletter.Record, damaged *deadletter.DamagedError) (e exclusion, excluded bool) {
	if damaged != nil {
		return exclusion{why: "the file cannot be read as a dead letter, and is left unchanged", cure: "repair it or move it away", line: damaged.Error(), damaged: true}, true
	}
	e.target = r.TargetName
	t, known := s.Targets.Get(r.TargetName)
	switch {
	case r.TargetName == event.UndecodableTarget:
		e.why, e.cure, e.line = "the message is not JSON, so it is not an event", undecodableCure, inKafka(r)
	case r.TargetName == event.OversizeTarget:
		e.why, e.cure, e.line = "the message is too large for Temporal, and only Kafka has it", oversizeCure, inKafka(r)
	case r.TargetName == event.ConflictTarget:
		e.why, e.cure, e.line = "the event id of the message belongs to another event", conflictCure, inKafka(r)
	case !known:
		e.why, e.cure = "targets.yaml has no such target", "add it there, or close its records with deadletter discard"
	case t.State != target.Active:
		e.why, e.cure = fmt.Sprintf("the target is %s", t.State), "set state: active in targets.yaml"
	case len(r.Message()) == 0:
		e.why, e.cure = "the record has no payload", "close it with deadletter discard"
		e.line = fmt.Sprintf("%s has no payload: close the record with deadletter discard", s.Tracker.File(r.TargetName, r.EventID))
	default:
		return exclusion{}, false
	}
	return e, true
}

// inKafka returns a line that names the record and the position of its message.
func inKafka(r deadletter.Record) string {
	return fmt.Sprintf("%s %s: Kafka topic %s, partition %d, offset %d", r.TargetName, r.EscapedID(),
		event.Escape(r.Source.Topic), r.Source.Partition, r.Source.Offset)
}

// maxNamed is the most records of one kind that are named one by one. Damaged files are all
// named, because no other output shows which files they are.
const maxNamed = 10

// exclude counts a record that is not sent, and names it to notify.
func (p *Plan) exclude(e exclusion, notify func(string)) {
	i := slices.IndexFunc(p.Excluded, func(x Excluded) bool { return x.Target == e.target && x.Why == e.why })
	if i < 0 {
		i = len(p.Excluded)
		p.Excluded = append(p.Excluded, Excluded{Target: e.target, Why: e.why, Cure: e.cure})
	}
	p.Excluded[i].Records++
	if e.line != "" && (e.damaged || p.Excluded[i].Records <= maxNamed) {
		notify(e.line)
	}
}
