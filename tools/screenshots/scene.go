package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

	"genesys-fanout/internal/devstack"
)

// scene is the running demo, and the runs that the pictures show.
type scene struct {
	dir      string // for the files of all processes
	demo     *devstack.Process
	temporal client.Client
	limited  *devstack.Target
	worker   *devstack.Process // delivers to limited

	temporalAddress string
	ui              string    // the URL of Temporal UI
	conversation    string    // the InteractionId of several runs, one of which failed
	failed          execution // a failed run of the conversation
	pending         execution // a run that waits for a target's Retry-After
}

// execution identifies a run.
type execution struct{ workflowID, runID string }

// page returns the path of one of the run's pages in Temporal UI, below the namespace.
func (e execution) page(name string) string {
	return strings.Join([]string{"workflows", e.workflowID, e.runID, name}, "/")
}

// The settings of the demo that are read from its output and from its worker's file of
// settings.
var (
	uiURL           = regexp.MustCompile(`Temporal UI: +(\S+)`)
	temporalAddress = regexp.MustCompile(`export TEMPORAL_ADDRESS='(.+)'`)
)

// setUp starts the demo, waits for its summary, and adds a run that waits. Call close
// after it, even if it fails.
func (s *scene) setUp(ctx context.Context, bin string) (err error) {
	if s.dir, err = os.MkdirTemp("", "genesys-fanout-screenshots-"); err != nil {
		return err
	}
	fmt.Println("running the demo …")
	s.demo, err = devstack.StartProcess(ctx, devstack.ProcessOptions{
		Path: filepath.Join(bin, "demo"), Env: append(os.Environ(), "DEMO_ONCE=0", "TMPDIR="+s.dir),
	})
	if err != nil {
		return fmt.Errorf("%w; run: make build", err)
	}
	if _, err := s.demo.WaitLine(ctx, "Everything stays up"); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	runs, err := s.listRuns(ctx)
	if err != nil {
		return err
	}
	if err := s.chooseConversation(runs); err != nil {
		return err
	}
	return s.startPendingRun(ctx, bin, runs)
}

// connect reads the addresses of the demo's Temporal UI and server, and connects to the
// server.
func (s *scene) connect(ctx context.Context) error {
	ui := uiURL.FindStringSubmatch(s.demo.Text())
	files, err := filepath.Glob(filepath.Join(s.dir, "*", "worker.env"))
	if err != nil || len(files) == 0 || ui == nil {
		return errors.Join(errors.New("the demo printed no address of Temporal UI, or wrote no worker.env"), err)
	}
	settings, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	address := temporalAddress.FindSubmatch(settings)
	if address == nil {
		return fmt.Errorf("%s has no TEMPORAL_ADDRESS", files[0])
	}
	s.ui, s.temporalAddress = ui[1], string(address[1])
	s.temporal, err = client.DialContext(ctx, client.Options{HostPort: s.temporalAddress, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	return err
}

// listRuns returns all runs of the demo.
func (s *scene) listRuns(ctx context.Context) ([]*workflow.WorkflowExecutionInfo, error) {
	listed, err := s.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	return listed.GetExecutions(), nil
}

// chooseConversation chooses the conversation with the most runs among those with a
// failed run.
func (s *scene) chooseConversation(runs []*workflow.WorkflowExecutionInfo) error {
	size, failed := make(map[string]int), make(map[string]*workflow.WorkflowExecutionInfo)
	for _, run := range runs {
		id := conversationOf(run)
		size[id]++
		if run.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_FAILED {
			failed[id] = run
		}
	}
	for id, run := range failed {
		// The id decides between equal sizes, so that the choice does not depend on the
		// order of the map.
		if id != "" && cmp.Or(cmp.Compare(size[id], size[s.conversation]), cmp.Compare(id, s.conversation)) > 0 {
			s.conversation = id
			s.failed = execution{run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId()}
		}
	}
	if s.conversation == "" {
		return fmt.Errorf("none of the demo's %d runs failed and belongs to a conversation", len(runs))
	}
	return nil
}

// conversationOf returns the run's InteractionId, or "" if it has none.
func conversationOf(run *workflow.WorkflowExecutionInfo) string {
	var id string
	_ = converter.GetDefaultDataConverter().FromPayload(run.GetSearchAttributes().GetIndexedFields()["InteractionId"], &id)
	return id
}

// close stops everything that setUp started, in reverse order.
func (s *scene) close() error {
	stoppedWorker := stop("worker", s.worker)
	if s.limited != nil {
		s.limited.Close()
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
	return errors.Join(stoppedWorker, stop("demo", s.demo), os.RemoveAll(s.dir))
}

func stop(name string, p *devstack.Process) error {
	if p == nil {
		return nil
	}
	code, err := p.Stop(context.Background())
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with exit status %d:\n%s", name, code, p.Text())
	}
	return err
}
