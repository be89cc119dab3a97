package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"genesys-fanout/chaos/audit"
)

// networkFaults disturb the network between two parts. The seed chooses which of our processes, and
// which target.
func networkFaults() []fault {
	var list []fault
	for _, d := range disorders() {
		list = append(list,
			fault{name: fmt.Sprintf("network to Temporal: %s", d), lane: laneNetwork, inject: disturbTemporal(d)},
			fault{name: fmt.Sprintf("network to a target: %s", d), lane: laneNetwork, inject: disturbTarget(d)},
			fault{name: fmt.Sprintf("network to Kafka: %s", d), lane: laneNetwork, needs: needsKafkaLink, inject: disturbKafka(d)},
		)
	}
	for _, name := range []string{"compliance answers 503 for 25 s", "compliance answers 503 for 25 s again"} {
		list = append(list, fault{name: name, lane: laneNetwork, inject: func(ctx context.Context, w *world, _ *rand.Rand) error {
			defer w.outageOfTarget()()
			pause(ctx, longDisorder)
			return nil
		}})
	}
	return list
}

// The length of a disorder. The longer one is longer than a process may be cut off from Temporal
// until it counts as killed, and than Kafka keeps a silent member.
const (
	shortDisorder = 8 * time.Second
	longDisorder  = 25 * time.Second
)

func disturbTemporal(d disorder) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *rand.Rand) error {
		m := w.members[r.IntN(len(w.members))]
		length := shortDisorder
		if r.IntN(2) == 0 {
			length = longDisorder
		}
		// Not the sender: it may be started again during the disorder, and the next one is cut off too.
		disturbances := []audit.Disturbance{}
		if d == cut || d == reset || d == silence {
			disturbances = append(disturbances, audit.Disturbance{Cause: audit.CutOff})
		}
		return w.disturb(ctx, m, temporalPart, d, length, disturbances)
	}
}

func disturbTarget(d disorder) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *rand.Rand) error {
		m := w.members[r.IntN(len(w.members))]
		s := specs()[r.IntN(len(specs()))]
		return w.disturb(ctx, m, s.name, d, shortDisorder, []audit.Disturbance{{Cause: audit.TargetNetwork, Target: s.name}})
	}
}

func disturbKafka(d disorder) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, _ *rand.Rand) error {
		return hold(ctx, w.kafkaLink, d, longDisorder)
	}
}

// disturb disturbs the link from a member for a time, and records the disturbances for each process
// that the member is meanwhile.
func (w *world) disturb(ctx context.Context, m *member, to string, d disorder, length time.Duration, disturbances []audit.Disturbance) error {
	w.journal.note("  from %s to %s for %s", m.name, to, length)
	_, first := m.current(false)
	began := time.Now()
	err := hold(ctx, m.links[to], d, length)
	for _, sender := range m.sendersSince(first) {
		for _, one := range disturbances {
			one.Process, one.From, one.To = sender, began, time.Now()
			w.journal.add(one)
		}
	}
	return err
}

// sendersSince returns the senders from first to the present one.
func (m *member) sendersSince(first string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for n := m.starts; n > 0; n-- {
		sender := fmt.Sprintf("%s.%d", m.name, n)
		list = append(list, sender)
		if sender == first {
			break
		}
	}
	return list
}

// hold disturbs a link for a time.
func hold(ctx context.Context, l *link, d disorder, length time.Duration) error {
	mend, err := l.disturb(d)
	if err != nil {
		return err
	}
	pause(ctx, length)
	return mend()
}

func needsKafkaLink(w *world) string {
	if w.kafkaLink == nil {
		return "the broker is in this process"
	}
	return ""
}
