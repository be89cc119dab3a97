package main

import (
	"cmp"
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
	healthy  behaviour = "healthy"
	hanging  behaviour = "hanging"
	failing  behaviour = "failing"
	refusing behaviour = "refusing"
	limiting behaviour = "limiting"
)

func (b behaviour) answer(r devstack.Request) devstack.Answer {
	switch b {
	case slowly, second:
		return answerByAttempt(b, r)
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

func healthyTargets(n int) []behaviour {
	targets := make([]behaviour, n)
	for i := range targets {
		targets[i] = healthy
	}
	return targets
}

// twoHealthyAnd returns two healthy targets and a third one with the given behaviour.
func twoHealthyAnd(third behaviour) []behaviour { return []behaviour{healthy, healthy, third} }

// setup is the configuration of a pipeline.
type setup struct {
	targets []behaviour
	size    int // bytes of an event, or naturalSize; default 1 KB
	ingests int // number of ingest processes; default 1
	env     []string
	history bool // also measure the histories of the runs
	discard bool // the targets count their requests but do not keep them, because there are too many
}

// targetYAML is a target with a policy that outlasts a target's outage during a case. The
// policy is that of targets.example.yaml.
const targetYAML = `
  - name: target-%d
    url: %q
    max_attempts: 20
    backoff: {initial: 2s, multiplier: 2, max: 5m}
    retry_statuses: [408, 425, 429, 500, 502, 503, 504]
`

// pipeline is one worker and one or more ingest processes, run as a user would run them,
// with their topic and targets.
type pipeline struct {
	lab     *lab
	setup   setup
	name    string // of the topic, the consumer group and the task queue
	dir     string
	targets []*devstack.Target
	worker  *devstack.Process
	ingests []*devstack.Process
}

// pipeline creates the topic and starts the targets. It starts no process yet.
func (l *lab) pipeline(ctx context.Context, s setup) (_ *pipeline, err error) {
	s.size = cmp.Or(s.size, kilobyte)
	s.ingests = max(s.ingests, 1)
	f := &pipeline{lab: l, setup: s, name: l.uniqueName("ours")}
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
	yaml.WriteString("targets:")
	for i, behaviour := range s.targets {
		target, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: behaviour.answer, Discard: s.discard})
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, target)
		if behaviour == refusing {
			target.Stop()
		}
		fmt.Fprintf(&yaml, targetYAML, i, target.URL())
	}
	if err := os.WriteFile(f.path("targets.yaml"), []byte(yaml.String()), 0o600); err != nil {
		return nil, err
	}
	return f, l.kafka.CreateTopic(ctx, f.name, partitions)
}

// partitions is the number of partitions of a topic. Two ingest processes share them.
const partitions = 4

func (f *pipeline) path(name string) string { return filepath.Join(f.dir, name) }

// publish writes events to the topic, those of one conversation to the same partition.
func (f *pipeline) publish(ctx context.Context, events []contactcentre.Event) error {
	const batchSize = 500
	for batch := range slices.Chunk(events, batchSize) {
		var messages []devstack.Message
		for _, e := range batch {
			messages = append(messages, devstack.Message{
				Topic: f.name, Partition: devstack.AnyPartition, Key: []byte(e.ConversationID), Value: e.Message,
			})
		}
		if err := f.lab.kafka.ProduceAll(ctx, messages...); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}

// start starts a built binary and waits until it is ready.
func (f *pipeline) start(ctx context.Context, binary string, extra ...string) (*devstack.Process, error) {
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

func (f *pipeline) startWorker(ctx context.Context) (err error) {
	f.worker, err = f.start(ctx, "worker")
	return err
}

func (f *pipeline) startIngests(ctx context.Context) error {
	for range f.setup.ingests {
		p, err := f.start(ctx, "ingest", f.setup.env...)
		if err != nil {
			return err
		}
		f.ingests = append(f.ingests, p)
	}
	return nil
}

// close kills the processes. Open runs remain, but their tasks are in task queues that
// no process polls, so they cost the server nothing.
func (f *pipeline) close() {
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

// healthyTargets returns the targets that answer every request with success.
func (f *pipeline) healthyTargets() []*devstack.Target {
	var list []*devstack.Target
	for i, t := range f.targets {
		if f.setup.targets[i] == healthy {
			list = append(list, t)
		}
	}
	return list
}

// waitDelivered waits until every healthy target has n events. It fails if an event was
// delivered twice.
func (f *pipeline) waitDelivered(ctx context.Context, n int) error {
	for _, t := range f.healthyTargets() {
		err := t.Wait(ctx, func(t *devstack.Target) bool { return t.Events() >= n })
		if err != nil {
			return fmt.Errorf("%w\n%s", err, f.ingests[0].Text())
		}
	}
	for _, t := range f.healthyTargets() {
		if t.Count() != n {
			return fmt.Errorf("a healthy target got %d requests for %d events: some were delivered twice", t.Count(), n)
		}
	}
	return nil
}

var errTooFast = errors.New("all events arrived at the same instant, so there is no rate; set -events to a higher number")

// ours measures the rate at which healthy targets get a backlog of events from the
// topic, from the first request to the last.
func ours(s setup) measure {
	return func(ctx context.Context, l *lab, _ int) (figures, error) {
		f, err := l.pipeline(ctx, s)
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
		if err := f.waitDelivered(ctx, len(events)); err != nil {
			return nil, err
		}
		first, last := firstAndLastRequest(f.healthyTargets())
		if !last.After(first) {
			return nil, errTooFast
		}
		got := figures{
			rate:    float64(len(events)) / last.Sub(first).Seconds(),
			startUp: float64(first.Sub(began).Milliseconds()),
		}
		return got, cost.addPerEvent(ctx, events, got)
	}
}

// firstAndLastRequest returns the times of the first and the last request to the
// targets.
func firstAndLastRequest(targets []*devstack.Target) (first, last time.Time) {
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
