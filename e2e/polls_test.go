package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// With credentials that may describe the namespace but not poll its task queues, a process gets no
// tasks, so it must not be ready.
func TestReadyz_RejectedPollsOfATaskQueueMakeAProcessNotReady(t *testing.T) {
	const workflowPolls, activityPolls = "PollWorkflowTaskQueue", "PollActivityTaskQueue"
	for name, test := range map[string]struct {
		binary   string
		rejected string
		env      []string
		says     string // the body of /readyz; empty if the process is ready
	}{
		"worker":                     {"worker", workflowPolls, nil, "queues: task queue $QUEUE: PollWorkflowTaskQueue: PermissionDenied: not you; allow these credentials"},
		"worker and its tracker":     {"worker", activityPolls, nil, "queues: task queue $QUEUE/dead-letter: PollActivityTaskQueue: PermissionDenied: not you; allow these credentials"},
		"worker without a tracker":   {"worker", activityPolls, []string{"FANOUT_DEAD_LETTERS=off"}, ""},
		"ingest":                     {"ingest", workflowPolls, nil, "queues: task queue $QUEUE: PollWorkflowTaskQueue: PermissionDenied: not you; allow these credentials"},
		"ingest without eager start": {"ingest", workflowPolls, []string{"FANOUT_EAGER_START=false"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
			proxy := s.startTemporalProxy()
			proxy.Reject(test.rejected, codes.PermissionDenied, "not you")
			env := append([]string{"TEMPORAL_ADDRESS=" + proxy.Address()}, test.env...)
			if test.says == "" {
				s.run(test.binary, env...)
				return
			}
			p := s.start(test.binary, env...)
			says := strings.ReplaceAll(test.says, "$QUEUE", s.name)
			s.eventually(func() bool {
				status, body, err := p.Read(s.ctx, "/readyz")
				return err == nil && status == http.StatusServiceUnavailable && strings.HasPrefix(body, says)
			}, "/readyz says: %s", says)
			lines := func() int { return strings.Count(p.Text(), "waiting to poll a task queue") }
			s.eventually(func() bool { return lines() == 2 }, "a log line at once and another after 30 s")
			status, body, err := p.Read(s.ctx, "/readyz")
			require.NoError(t, err)
			assert.Equal(t, http.StatusServiceUnavailable, status, body)

			proxy.Reject(test.rejected, codes.OK, "")
			require.NoError(t, p.WaitReady(s.ctx))
			assert.Contains(t, p.Text(), "accepts the polls of every task queue again")
		})
	}
}
