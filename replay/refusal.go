package replay

import (
	"fmt"
	"slices"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Excluded are records that are not sent again, all for one reason.
type Excluded struct {
	Target  string // empty for damaged files
	Why     string
	Cure    string
	Records int
}

// String is the line that people read.
func (r Excluded) String() string {
	name := event.Escape(r.Target)
	if name == "" {
		name = "damaged"
	}
	return fmt.Sprintf("%s: %d refused: %s; %s", name, r.Records, r.Why, r.Cure)
}

// refusal says why a record is not sent.
type refusal struct {
	target, why, cure string

	name    string // of this record, where it has to be told apart from the others
	damaged bool
}

// The cures of messages that no target could be sent.
const (
	undecodableCure = "read the message in Kafka and correct the producer; then close the record with deadletter discard"
	oversizeCure    = "take the message from Kafka to its targets by hand, or make the producer send less; then close the record with deadletter discard"
	conflictCure    = `set FANOUT_EVENT_ID of ingest to an expression that gives each event an id of its own, such as event.id + "-" + event.type, ` +
		"or correct the producer; send the payload to its targets by hand; then close the record with deadletter discard"
)

// refusal says why a record cannot be sent; without a why it can.
func (s Selection) refusal(r deadletter.Record, damaged *deadletter.DamagedError) refusal {
	if damaged != nil {
		return refusal{why: "a file that holds no dead letter is left as it is", cure: "mend the file or move it away", name: damaged.Error(), damaged: true}
	}
	no := refusal{target: r.TargetName}
	t, known := s.Targets.Get(r.TargetName)
	switch {
	case r.TargetName == event.UndecodableTarget:
		no.why, no.cure, no.name = "the message is no JSON, so it is no event", undecodableCure, inKafka(r)
	case r.TargetName == event.OversizeTarget:
		no.why, no.cure, no.name = "the message is too large for Temporal and is kept in Kafka alone", oversizeCure, inKafka(r)
	case r.TargetName == event.ConflictTarget:
		no.why, no.cure, no.name = "another event has the event id of the message", conflictCure, inKafka(r)
	case !known:
		no.why, no.cure = "targets.yaml has no such target", "add it there, or close its records with deadletter discard"
	case t.State != target.Active:
		no.why, no.cure = fmt.Sprintf("the target is %s", t.State), "set state: active in targets.yaml"
	case len(r.Message()) == 0:
		no.why, no.cure = "the record has no payload", "close it with deadletter discard"
		no.name = fmt.Sprintf("%s holds no payload: close the record with deadletter discard", s.Directory.File(r.TargetName, r.EventID))
	}
	return no
}

// inKafka names the record and the position of its message.
func inKafka(r deadletter.Record) string {
	return fmt.Sprintf("%s %s: Kafka topic %s, partition %d, offset %d", r.TargetName, r.EscapedID(),
		event.Escape(r.Source.Topic), r.Source.Partition, r.Source.Offset)
}

// mostNamed is how many records of a kind are named one by one. Damaged files
// are all named: nothing else tells which they are.
const mostNamed = 10

func (p *Plan) refuse(no refusal, notify func(string)) {
	i := slices.IndexFunc(p.Excluded, func(r Excluded) bool { return r.Target == no.target && r.Why == no.why })
	if i < 0 {
		i = len(p.Excluded)
		p.Excluded = append(p.Excluded, Excluded{Target: no.target, Why: no.why, Cure: no.cure})
	}
	p.Excluded[i].Records++
	if no.name != "" && (no.damaged || p.Excluded[i].Records <= mostNamed) {
		notify(no.name)
	}
}
