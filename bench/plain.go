package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/internal/devstack"
)

// plain measures the simplest design: a workflow with one regular activity per target, a
// worker with the SDK's defaults, no eager start. It runs in this process and does not
// read Kafka, which is an advantage over ours.
func plain(ctx context.Context, l *lab, _ int) (figures, error) {
	var urls []string
	var targets []*devstack.Target
	for _, behaviour := range healthyTargets(3) {
		target, err := devstack.StartTarget(ctx, devstack.TargetOptions{Script: behaviour.answer})
		if err != nil {
			return nil, err
		}
		defer target.Close()
		targets, urls = append(targets, target), append(urls, target.URL())
	}
	c, err := l.temporal.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	queue := l.uniqueName("plain")
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflowWithOptions(plainWorkflow, workflow.RegisterOptions{Name: "Plain"})
	w.RegisterActivity(post)
	if err := w.Start(); err != nil {
		return nil, err
	}
	defer w.Stop()
	events := l.messages(l.events/plainDivisor, kilobyte)
	used, err := startCPUCost(map[string]meter{cpuServer: l.temporal.CPU})
	if err != nil {
		return nil, err
	}
	err = bareLoop(ctx, len(events), func(ctx context.Context, i int) error {
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "plain-" + events[i].ID, TaskQueue: queue},
			"Plain", plainInput{ID: events[i].ID, Body: string(events[i].Message), URLs: urls})
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		if err := target.Wait(ctx, func(t *devstack.Target) bool { return t.Events() >= len(events) }); err != nil {
			return nil, err
		}
	}
	first, last := firstAndLastRequest(targets)
	got := figures{rate: float64(len(events)) / last.Sub(first).Seconds()}
	return got, used.addPerEvent(len(events), got)
}

// plainDivisor reduces the number of events of plain. It is so slow that a third of the
// events takes about as long as a round of another case.
const plainDivisor = 3

type plainInput struct {
	ID, Body string
	URLs     []string
}

func plainWorkflow(ctx workflow.Context, in plainInput) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Second})
	var sent []workflow.Future
	for _, url := range in.URLs {
		sent = append(sent, workflow.ExecuteActivity(ctx, post, url, in.ID, in.Body))
	}
	for _, one := range sent {
		if err := one.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, url, id, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Genesys-Event-ID", id)
	response, err := plainClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// plainClient keeps many idle connections. With net/http's default of two per host, plain
// would measure how fast connections open.
var plainClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
