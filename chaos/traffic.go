package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

// traffic makes the messages: the events of a contact centre, and among them some that are no
// events, too large, or have the id of another event, and some that come again.
type traffic struct {
	random *rand.Rand
	centre *contactcentre.Centre

	events int
	later  []later // in the order in which they are due

	mu   sync.Mutex
	made map[[sha256.Size]byte]made // by the message's bytes
	sent int                        // messages that the broker acknowledged
}

// later is a message that is produced when there have been that many events.
type later struct {
	due     int
	message devstack.Message
}

// made is what the program knows about a message that it made.
type made struct {
	kind    audit.Kind
	eventID string
	sum     [sha256.Size]byte // of the bytes
}

func newTraffic(seed uint64) *traffic {
	return &traffic{random: newRandom(seed), centre: contactcentre.New(seed, time.Now()), made: make(map[[sha256.Size]byte]made)}
}

// The shares of special messages, as one of that many. An oversize message has 2.5 MB, so there are
// few of them.
const (
	undecodableOneIn = 100
	conflictOneIn    = 150
	repeatedOneIn    = 30
	tombstoneOneIn   = 300
	oversizeOneIn    = 700
	oversizeBytes    = 2_500_000

	// laterBy is the number of events between an event and the messages that have its id too. It is
	// larger than the number of starts that ingest keeps in flight, so that the event is the first.
	laterBy = 600
)

// next returns the messages that the next event brings: the event itself, and sometimes special ones.
func (t *traffic) next() []devstack.Message {
	e := t.centre.Next()
	t.events++
	event := t.message(audit.Event, e.ID, e.ConversationID, e.Message)
	messages := []devstack.Message{event}
	if t.oneIn(undecodableOneIn) {
		messages = append(messages, t.message(audit.Undecodable, "", "", fmt.Appendf(nil, `{"detail": %q, "id": "%s`, e.ID, e.ID)))
	}
	if t.oneIn(oversizeOneIn) {
		large := fmt.Appendf(nil, `{"event_id": "large-%s", "event_type": "large", "note": %q}`, e.ID, bytes.Repeat([]byte("x"), oversizeBytes))
		messages = append(messages, t.message(audit.Oversize, "large-"+e.ID, "", large))
	}
	if t.oneIn(tombstoneOneIn) {
		messages = append(messages, devstack.Message{Topic: topic, Partition: devstack.AnyPartition, Key: []byte(e.ID)})
	}
	if t.oneIn(conflictOneIn) {
		other := fmt.Appendf(nil, `{"event_id": %q, "event_type": "another.event", "interaction": {"id": "another-%s"}}`, e.ID, e.ID)
		t.postpone(t.message(audit.Conflict, e.ID, e.ConversationID, other))
	}
	if t.oneIn(repeatedOneIn) {
		t.postpone(event)
	}
	return append(messages, t.due(t.events)...)
}

func (t *traffic) postpone(m devstack.Message) {
	t.later = append(t.later, later{t.events + laterBy, m})
}

// due returns the postponed messages whose time has come.
func (t *traffic) due(events int) (messages []devstack.Message) {
	for len(t.later) > 0 && t.later[0].due <= events {
		messages = append(messages, t.later[0].message)
		t.later = t.later[1:]
	}
	return messages
}

func (t *traffic) oneIn(n int) bool { return t.random.IntN(n) == 0 }

func (t *traffic) message(kind audit.Kind, eventID, key string, value []byte) devstack.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := sha256.Sum256(value)
	t.made[sum] = made{kind, eventID, sum}
	if key == "" {
		key = eventID
	}
	return devstack.Message{Topic: topic, Partition: devstack.AnyPartition, Key: []byte(key), Value: value}
}

// of returns what the program knows about the message with these bytes.
func (t *traffic) of(value []byte) (made, bool) {
	if value == nil {
		return made{kind: audit.Tombstone}, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.made[sha256.Sum256(value)]
	return m, ok
}

func (t *traffic) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

// produce produces n events, evenly over a time, and then what is postponed. It waits for a broker
// that is away, and repeats what the broker has not acknowledged.
func (t *traffic) produce(ctx context.Context, kafka *devstack.Kafka, n int, within time.Duration) error {
	interval := within / time.Duration(n)
	began := time.Now()
	for t.events < n {
		due := min(n, int(time.Since(began)/interval)+1)
		var messages []devstack.Message
		for t.events < due {
			messages = append(messages, t.next()...)
		}
		if err := t.send(ctx, kafka, messages); err != nil {
			return err
		}
		if !pause(ctx, time.Until(began.Add(interval*time.Duration(t.events)))) {
			return context.Cause(ctx)
		}
	}
	return t.send(ctx, kafka, t.due(n+laterBy))
}

func (t *traffic) send(ctx context.Context, kafka *devstack.Kafka, messages []devstack.Message) error {
	for {
		err := kafka.ProduceAll(ctx, messages...)
		if err == nil {
			t.mu.Lock()
			t.sent += len(messages)
			t.mu.Unlock()
			return nil
		}
		if !pause(ctx, time.Second) {
			return err
		}
	}
}
