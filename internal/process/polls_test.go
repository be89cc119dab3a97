package process

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"genesys-fanout/internal/outage"
)

var (
	errDenied  = status.Error(codes.PermissionDenied, "Request unauthorized.")
	workflowsQ = &workflowservice.PollWorkflowTaskQueueRequest{TaskQueue: &taskqueue.TaskQueue{Name: "fanout", Kind: enums.TASK_QUEUE_KIND_NORMAL}}
	stickyQ    = &workflowservice.PollWorkflowTaskQueueRequest{TaskQueue: &taskqueue.TaskQueue{Name: "host:1", NormalName: "fanout", Kind: enums.TASK_QUEUE_KIND_STICKY}}
	lettersQ   = &workflowservice.PollActivityTaskQueueRequest{TaskQueue: &taskqueue.TaskQueue{Name: "fanout/dead-letter"}}
	targetQ    = &workflowservice.PollActivityTaskQueueRequest{TaskQueue: &taskqueue.TaskQueue{Name: "fanout/target/a"}}
)

// pollsUnderTest is a PollMonitor of two queues, with the check and the log lines of its Watch.
type pollsUnderTest struct {
	*PollMonitor
	health *Health
	out    *syncBuffer
}

func watchPolls(t *testing.T) *pollsUnderTest {
	t.Helper()
	p := &pollsUnderTest{PollMonitor: NewPollMonitor("fanout", "fanout/dead-letter"), health: NewHealth(CheckQueues), out: &syncBuffer{}}
	go p.Watch(t.Context(), p.health, Logger(p.out, "info", "text"))
	return p
}

// poll begins a call. The call ends with the error that is sent to end.
func (p *pollsUnderTest) poll(ctx context.Context, request any) (end chan<- error) {
	answer := make(chan error)
	go func() {
		_ = p.intercept(ctx, "any", request, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return status.FromContextError(ctx.Err()).Err()
			}
		})
	}()
	synctest.Wait()
	return answer
}

// ends makes a poll that Temporal answers at once with err.
func (p *pollsUnderTest) ends(ctx context.Context, request any, err error) {
	p.poll(ctx, request) <- err
}

// notReady returns the lines of /readyz after the next pass of Watch.
func (p *pollsUnderTest) notReady() string {
	time.Sleep(pollCheckInterval) // by the bubble's clock
	synctest.Wait()
	return strings.Join(p.health.NotReady(), "\n")
}

func TestPolls_ReadyOnceEveryQueueIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		assert.Equal(t, "queues: task queue fanout is not polled yet", p.notReady())
		p.poll(t.Context(), workflowsQ)
		assert.Equal(t, "queues: task queue fanout is not polled yet", p.notReady(), "Temporal may still reject it")
		time.Sleep(acceptedAfter)
		assert.Equal(t, "queues: task queue fanout/dead-letter is not polled yet", p.notReady())
		p.ends(t.Context(), lettersQ, nil)
		assert.Empty(t, p.notReady(), "a task, or none within the minute")
	})
}

func TestPolls_ARejectionCountsUntilALaterPollIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		older := p.poll(t.Context(), workflowsQ)
		p.ends(t.Context(), lettersQ, nil)
		time.Sleep(acceptedAfter)
		assert.Empty(t, p.notReady())

		p.ends(t.Context(), workflowsQ, errDenied)
		assert.Equal(t, "queues: task queue fanout: PollWorkflowTaskQueue: PermissionDenied: Request unauthorized.; "+
			"allow these credentials (TEMPORAL_API_KEY, or the client certificate in TEMPORAL_TLS_*) to poll task queues of TEMPORAL_NAMESPACE", p.notReady())
		time.Sleep(time.Minute)
		assert.NotEmpty(t, p.notReady(), "the older poll was accepted before that")

		newer := p.poll(t.Context(), workflowsQ)
		assert.NotEmpty(t, p.notReady())
		time.Sleep(acceptedAfter)
		assert.Empty(t, p.notReady(), "the newer poll is in flight")

		newer <- errDenied
		assert.NotEmpty(t, p.notReady())
		older <- nil
		assert.Empty(t, p.notReady(), "the poll that ended last was accepted")
	})
}

func TestPolls_IgnoreOtherQueuesAndCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		for _, request := range []any{stickyQ, targetQ, &workflowservice.DescribeNamespaceRequest{}} {
			p.ends(t.Context(), request, nil)
		}
		assert.Contains(t, p.notReady(), "fanout is not polled yet")
		p.ends(t.Context(), workflowsQ, nil)
		p.ends(t.Context(), lettersQ, nil)
		for _, request := range []any{stickyQ, targetQ, &workflowservice.DescribeNamespaceRequest{}} {
			p.ends(t.Context(), request, errDenied)
		}
		assert.Empty(t, p.notReady())
	})
}

func TestPolls_IgnoreAPollThatTheProcessCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		p.ends(t.Context(), workflowsQ, nil)
		p.ends(t.Context(), lettersQ, nil)
		ctx, stop := context.WithCancel(t.Context())
		p.poll(ctx, workflowsQ)
		stop()
		assert.Empty(t, p.notReady())

		p.ends(t.Context(), workflowsQ, status.Error(codes.Canceled, "by the server"))
		assert.Contains(t, p.notReady(), "PollWorkflowTaskQueue: Canceled: by the server")
	})
}

func TestPolls_LogARejectionAtOnceAndEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		p.ends(t.Context(), workflowsQ, nil)
		p.ends(t.Context(), lettersQ, errDenied)
		time.Sleep(95 * time.Second)
		const line = `level=WARN msg="waiting to poll a task queue" for=`
		assert.Equal(t, 4, strings.Count(p.out.String(), line), p.out.String()) // at 0, 30, 60 and 90 s
		assert.Contains(t, p.out.String(), `task_queue=fanout/dead-letter call=PollActivityTaskQueue code=PermissionDenied error="Request unauthorized." cure="allow these`)
		p.ends(t.Context(), lettersQ, nil)
		assert.Empty(t, p.notReady())
		assert.Equal(t, 1, strings.Count(p.out.String(), "accepts the polls of every task queue again"))
	})
}

func TestPolls_LogAQueueThatIsNotPolled30SecondsAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watchPolls(t)
		time.Sleep(outage.Interval - time.Second)
		assert.Empty(t, p.out.String())
		time.Sleep(2 * time.Second)
		assert.Contains(t, p.out.String(), `task_queue=fanout call=PollWorkflowTaskQueue error="is not polled yet"`)
	})
}
