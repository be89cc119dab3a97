package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

const kilobyte = 1000

// behaviour is how a target answers.
type behaviour string

const (
	well     behaviour = "well"
	hanging  behaviour = "hanging"
	failing  behaviour = "failing"
	refusing behaviour = "refusing"
	limiting behaviour = "limiting"
)

func (b behaviour) script(devstack.Request) devstack.Answer {
	switch b {
	case hanging:
		return devstack.Answer{Hang: true}
	case failing:
		return devstack.Answer{Status: http.StatusServiceUnavailable}
	case limiting:
		return devstack.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}
	default:
		return devstack.Answer{Status: http.StatusOK}
	}
}

func healthy(n int) []behaviour {
	targets := make([]behaviour, n)
	for i := range targets {
		targets[i] = well
	}
	return targets
}

// withOne is two targets that are well and one that is not.
func withOne(how behaviour) []behaviour { return []behaviour{well, well, how} }

// setup is what the fan-out is measured with.
type setup struct {
	targets []behaviour
	size    int // bytes of an event, or asSeen; default 1 KB
	ingests int // processes; default 1
	env     []string
	history bool // look at the histories of the runs, too
	discard bool // count requests only: there are too many to keep
}

// policy lets a target be away for as long as a case lasts, as
// targets.example.yaml does.
const policy = "max_attempts: 20, backoff: {initial: 2s, multiplier: 2, max: 5m}, retry_statuses: [408, 425, 429, 500, 502, 503, 504]"

// fanout is one ingest and one worker, or more, with what they need, as a user
// would run them.
type fanout struct {
	lab     *lab
	setup   setup
	name    string // topic, group and task queue
	dir     string
	targets []*devstack.Target
	worker  *devstack.Process
	ingests []*devstack.Process
}

func (l *lab) fanout(ctx context.Context, s setup) (_ *fanout, err error) {
	if s.size == 0 {
		s.size = kilobyte
	}
	s.ingests = max(s.ingests, 1)
	f := &fanout{lab: l, setup: s, name: l.name("ours")}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	f.dir = filepath.Join(l.dir, f.name)
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return nil, err
	}
	var yaml strings.Builder
	yaml.WriteString("targets:\n")
	for i, how := range s.targets {
		target, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: how.script, Discard: s.discard})
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, target)
		if how == refusing {
			target.Down()
		}
		fmt.Fprintf(&yaml, "  - {name: target-%d, url: %q, %s}\n", i, target.URL(), policy)
	}
	if err := os.WriteFile(f.path("targets.yaml"), []byte(yaml.String()), 0o600); err != nil {
		return nil, err
	}
	return f, l.kafka.CreateTopic(ctx, f.name, partitions)
}

// partitions of a topic: two ingests share them.
const partitions = 4

func (f *fanout) path(name string) string { return filepath.Join(f.dir, name) }

// publish puts events on the topic, a conversation's on one partition.
func (f *fanout) publish(ctx context.Context, events []contactcentre.Event) error {
	const batch = 500
	messages := make([]devstack.Message, 0, batch)
	for len(events) > 0 {
		messages = messages[:0]
		for _, e := range events[:min(batch, len(events))] {
			messages = append(messages, devstack.Message{
				Topic: f.name, Partition: devstack.AnyPartition, Key: []byte(e.ConversationID), Value: e.Message,
			})
		}
		if err := f.lab.kafka.ProduceAll(ctx, messages...); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		events = events[len(messages):]
	}
	return nil
}

// start runs a built binary and waits until it is ready.
func (f *fanout) start(ctx context.Context, binary string, extra ...string) (*devstack.Process, error) {
	port, err := devstack.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	address := devstack.Loopback(port)
	p, err := devstack.StartProcess(ctx, devstack.ProcessOptions{
		Path: filepath.Join(f.lab.bin, binary), Dir: f.dir, HTTPAddr: address,
		Env: append([]string{
			"TEMPORAL_ADDRESS=" + f.lab.temporal.Address(),
			"FANOUT_HTTP_ADDR=" + address,
			"FANOUT_TARGETS=" + f.path("targets.yaml"),
			"FANOUT_TASK_QUEUE=" + f.name,
			"FANOUT_DEAD_LETTERS=" + f.path("dead-letters"),
			"FANOUT_LOG_LEVEL=error",
		}, slices.Concat(f.lab.kafka.Settings(f.name, f.name), extra)...),
	})
	if err != nil {
		return nil, err
	}
	if err := p.WaitReady(ctx); err != nil {
		p.Close()
		return nil, fmt.Errorf("%s: %w\n%s", binary, err, p.Text())
	}
	return p, nil
}

func (f *fanout) startWorker(ctx context.Context) (err error) {
	f.worker, err = f.start(ctx, "worker")
	return err
}

func (f *fanout) startIngests(ctx context.Context) error {
	for range f.setup.ingests {
		p, err := f.start(ctx, "ingest", f.setup.env...)
		if err != nil {
			return err
		}
		f.ingests = append(f.ingests, p)
	}
	return nil
}

// close ends the processes at once: what they leave open rests in queues that
// nobody polls, and costs the server nothing more.
func (f *fanout) close() {
	for _, p := range append(f.ingests, f.worker) {
		if p != nil {
			p.Close()
		}
	}
	for _, t := range f.targets {
		t.Close()
	}
	_ = os.RemoveAll(f.dir)
}

// well are the targets that answer as they should.
func (f *fanout) well() []*devstack.Target {
	var list []*devstack.Target
	for i, t := range f.targets {
		if f.setup.targets[i] == well {
			list = append(list, t)
		}
	}
	return list
}

// await waits until every healthy target has n events, and refuses what was
// delivered twice.
func (f *fanout) await(ctx context.Context, n int) error {
	for _, t := range f.well() {
		err := t.Wait(ctx, func(t *devstack.Target) bool { return t.Events() >= n })
		if err != nil {
			return fmt.Errorf("%w\n%s", err, f.ingests[0].Text())
		}
	}
	for _, t := range f.well() {
		if t.Count() != n {
			return fmt.Errorf("%d requests for %d events at a target that is well", t.Count(), n)
		}
	}
	return nil
}

var errTooFast = errors.New("all events arrived at one moment: use more -events")

// ours measures the rate at which healthy targets get what waits in the topic,
// from the first request to the last.
func ours(s setup) measure {
	return func(ctx context.Context, l *lab, _ int) (figures, error) {
		f, err := l.fanout(ctx, s)
		if err != nil {
			return nil, err
		}
		defer f.close()
		events := l.messages(l.events, f.setup.size)
		if err := f.publish(ctx, events); err != nil {
			return nil, err
		}
		if err := f.startWorker(ctx); err != nil {
			return nil, err
		}
		cost, err := f.startCosts(ctx)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := f.startIngests(ctx); err != nil {
			return nil, err
		}
		if err := f.await(ctx, len(events)); err != nil {
			return nil, err
		}
		first, last := span(f.well())
		if !last.After(first) {
			return nil, errTooFast
		}
		got := figures{
			rate:    float64(len(events)) / last.Sub(first).Seconds(),
			startUp: float64(first.Sub(began).Milliseconds()),
		}
		return got, cost.perEvent(ctx, events, got)
	}
}

// span is when the first and the last request came.
func span(targets []*devstack.Target) (first, last time.Time) {
	for _, t := range targets {
		requests := t.Requests()
		if at := requests[0].Time; first.IsZero() || at.Before(first) {
			first = at
		}
		if at := requests[len(requests)-1].Time; at.After(last) {
			last = at
		}
	}
	return first, last
}
