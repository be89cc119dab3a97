package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"genesys-fanout/internal/outage"
)

// CheckQueues is the name of the health check that PollMonitor.Watch sets.
const CheckQueues = "queues"

const (
	// acceptedAfter is how long a poll must be in flight to count as accepted. Temporal
	// rejects a poll at once, and keeps an accepted one for up to a minute.
	acceptedAfter = 2 * time.Second

	// pollCheckInterval is how often Watch updates the check CheckQueues of /readyz.
	pollCheckInterval = 500 * time.Millisecond
)

// PollMonitor reports whether Temporal accepts the polls of the task queues that a process
// cannot do without. WatchTemporal cannot find that out, because the credentials may be
// allowed to describe the namespace and not to poll.
type PollMonitor struct {
	mu     sync.Mutex
	queues []*polledQueue
}

// polledQueue is the state of one task queue. It covers all pollers of the queue in this
// process.
type polledQueue struct {
	name string
	kind enums.TaskQueueType

	inFlight map[*poll]bool
	ended    bool      // at least one poll has ended
	lastErr  error     // the error of the poll that ended last
	lastEnd  time.Time // when that poll ended
}

type poll struct{ began time.Time }

// NewPollMonitor returns a monitor of one queue of workflow tasks and of the given queues of
// activities. It ignores all other queues.
func NewPollMonitor(workflows string, activities ...string) *PollMonitor {
	p := &PollMonitor{}
	add := func(name string, kind enums.TaskQueueType) {
		p.queues = append(p.queues, &polledQueue{name: name, kind: kind, inFlight: make(map[*poll]bool)})
	}
	add(workflows, enums.TASK_QUEUE_TYPE_WORKFLOW)
	for _, name := range activities {
		add(name, enums.TASK_QUEUE_TYPE_ACTIVITY)
	}
	return p
}

// intercept is a grpc.UnaryClientInterceptor. It observes the polls among the client's calls.
func (p *PollMonitor) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ended := p.begin(request)
	err := invoke(ctx, method, request, reply, conn, options...)
	ended(ctx, err)
	return err
}

// begin records that a poll of a monitored queue begins. It ignores every other request. The
// caller calls ended with the result.
func (p *PollMonitor) begin(request any) (ended func(context.Context, error)) {
	var queue *polledQueue
	switch request := request.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest:
		queue = p.find(request.GetTaskQueue(), enums.TASK_QUEUE_TYPE_WORKFLOW)
	case *workflowservice.PollActivityTaskQueueRequest:
		queue = p.find(request.GetTaskQueue(), enums.TASK_QUEUE_TYPE_ACTIVITY)
	}
	if queue == nil {
		return func(context.Context, error) {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := &poll{began: time.Now()}
	queue.inFlight[one] = true
	return func(ctx context.Context, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(queue.inFlight, one)
		if ctx.Err() != nil && status.Code(err) == codes.Canceled {
			return // this process broke the poll off, so the error does not come from Temporal
		}
		queue.ended, queue.lastErr, queue.lastEnd = true, err, time.Now()
	}
}

// find returns the monitored queue that a poll asks for, or nil. A sticky queue, from which a
// worker gets the tasks of the runs in its cache, is not monitored.
func (p *PollMonitor) find(asked *taskqueue.TaskQueue, kind enums.TaskQueueType) *polledQueue {
	for _, queue := range p.queues {
		if queue.name == asked.GetName() && queue.kind == kind && asked.GetKind() != enums.TASK_QUEUE_KIND_STICKY {
			return queue
		}
	}
	return nil
}

// errNotPolled is the problem of a queue until Temporal has accepted or rejected a poll.
var errNotPolled = errors.New("is not polled yet")

// problem returns nil if Temporal accepted the poll that ended last, or if a poll that began
// after a rejection has been in flight for acceptedAfter.
func (q *polledQueue) problem() error {
	if q.ended && q.lastErr == nil {
		return nil
	}
	for one := range q.inFlight {
		if time.Since(one.began) >= acceptedAfter && one.began.After(q.lastEnd) {
			return nil
		}
	}
	if q.ended {
		return q.lastErr
	}
	return errNotPolled
}

// pollError says which queue Temporal does not let this process poll.
type pollError struct {
	queue string
	call  string
	err   error
}

// Error returns the queue, the call, the answer and the cure.
func (e *pollError) Error() string {
	if errors.Is(e.err, errNotPolled) {
		return fmt.Sprintf("task queue %s %s", e.queue, errNotPolled)
	}
	return fmt.Sprintf("task queue %s: %s: %s; %s", e.queue, e.call, withCode(e.err), e.cure())
}

// Unwrap returns Temporal's answer.
func (e *pollError) Unwrap() error { return e.err }

func (e *pollError) cure() string {
	switch codeOf(e.err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return "allow these credentials (TEMPORAL_API_KEY, or the client certificate in TEMPORAL_TLS_*) to poll task queues of TEMPORAL_NAMESPACE"
	case codes.NotFound, codes.InvalidArgument:
		return "correct TEMPORAL_NAMESPACE or FANOUT_TASK_QUEUE"
	default:
		return "nothing to do unless this lasts, because the process polls again"
	}
}

// problem returns the problem of the first queue that has one, or nil.
func (p *PollMonitor) problem() *pollError {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, queue := range p.queues {
		if err := queue.problem(); err != nil {
			return &pollError{queue: queue.name, call: "Poll" + queue.kind.String() + "TaskQueue", err: err}
		}
	}
	return nil
}

// Watch sets the health check CheckQueues until ctx ends. It logs that Temporal rejects the
// polls of a queue when that begins, every 30 s while it lasts, and when it is over. It also
// logs a queue that is not polled 30 s after the start.
func (p *PollMonitor) Watch(ctx context.Context, health *Health, log *slog.Logger) {
	began := time.Now()
	var last *pollError
	rejected := outage.New(
		func(r outage.Report) {
			details := []any{"for", r.Age, "task_queue", last.queue, "call", last.call}
			if errors.Is(last, errNotPolled) {
				details = append(details, "error", errNotPolled)
			} else {
				details = append(details, "code", codeOf(last.err).String(), "error", messageOf(last.err), "cure", last.cure())
			}
			log.Warn("waiting to poll a task queue", details...)
		},
		func(r outage.Report) {
			log.Info("Temporal accepts the polls of every task queue again", "after", r.Age)
		},
	)
	for pause(ctx, pollCheckInterval) {
		last = p.problem()
		if last == nil {
			health.Set(CheckQueues, nil)
			rejected.Observe(nil)
			continue
		}
		health.Set(CheckQueues, last)
		if !errors.Is(last, errNotPolled) || time.Since(began) >= outage.Interval {
			rejected.Observe(last)
		}
	}
}
