package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
)

// scene is what stands before the camera.
type scene struct {
	dir      string // for everybody's files
	demo     *process
	temporal client.Client
	limited  *httptest.Server
	worker   *process // sends to limited

	ui           string    // its URL
	failed       execution // of an event that a target rejected
	conversation string    // the InteractionId of several runs, one of them failed
	pending      execution // of an event whose target asks for patience
}

// execution is one run.
type execution struct{ id, run string }

func (e execution) page(name string) string {
	return strings.Join([]string{"workflows", e.id, e.run, name}, "/")
}

// What the demo prints: its last line, and what is read from the others.
const staysUp = "Everything stays up"

var (
	temporalAddress = regexp.MustCompile(`(?m)^ *export TEMPORAL_ADDRESS='(.+)'$`)
	uiURL           = regexp.MustCompile(`(?m)^Temporal UI: +(\S+)$`)
	failedRun       = regexp.MustCompile(`(?m)^one failed run: .*/workflows/([^/]+)/([^/]+)/history$`)
)

// set runs the demo, and beside it a run that waits. Call strike after it, also
// when it fails.
func (s *scene) set(ctx context.Context, bin string) (err error) {
	if s.dir, err = os.MkdirTemp("", "genesys-fanout-screenshots-"); err != nil {
		return err
	}
	fmt.Println("running the demo …")
	if s.demo, err = start(ctx, filepath.Join(bin, "demo"), "demo", "DEMO_ONCE=0", "TMPDIR="+s.dir); err != nil {
		return err
	}
	if err := s.demo.await(ctx, "the demo's summary", func() (bool, error) { return strings.Contains(s.demo.printed(), staysUp), nil }); err != nil {
		return err
	}
	address, ui, failed := read(s.demo, temporalAddress), read(s.demo, uiURL), read(s.demo, failedRun)
	if address == nil || ui == nil || failed == nil {
		return errors.New("the demo told no address, UI or failed run")
	}
	s.ui, s.failed = ui[1], execution{failed[1], failed[2]}
	s.temporal, err = client.DialContext(ctx, client.Options{HostPort: address[1], Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	runs, err := s.runs(ctx)
	if err != nil {
		return err
	}
	if s.conversation, err = richest(runs); err != nil {
		return err
	}
	return s.setPending(ctx, bin, address[1], runs)
}

// read finds a line of what a process printed.
func read(p *process, line *regexp.Regexp) []string { return line.FindStringSubmatch(p.printed()) }

// runs are all of the demo's.
func (s *scene) runs(ctx context.Context) ([]*workflow.WorkflowExecutionInfo, error) {
	listed, err := s.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	return listed.GetExecutions(), nil
}

// richest is the conversation with the most runs of those with a failed one.
func richest(runs []*workflow.WorkflowExecutionInfo) (string, error) {
	size, failed := make(map[string]int), make(map[string]bool)
	for _, run := range runs {
		id := conversation(run)
		size[id]++
		failed[id] = failed[id] || run.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_FAILED
	}
	best := ""
	for id := range failed {
		if id != "" && failed[id] && cmp.Or(cmp.Compare(size[id], size[best]), strings.Compare(id, best)) > 0 {
			best = id
		}
	}
	if best == "" {
		return "", fmt.Errorf("no failed run of the demo's %d belongs to a conversation", len(runs))
	}
	return best, nil
}

// conversation is the run's InteractionId, empty where it has none.
func conversation(run *workflow.WorkflowExecutionInfo) string {
	var id string
	_ = converter.GetDefaultDataConverter().FromPayload(run.GetSearchAttributes().GetIndexedFields()["InteractionId"], &id)
	return id
}

// strike ends what set started, the last first.
func (s *scene) strike() error {
	ended := s.worker.end()
	if s.limited != nil {
		s.limited.Close()
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
	return errors.Join(ended, s.demo.end(), os.RemoveAll(s.dir))
}
