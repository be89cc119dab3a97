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
)

// CheckQueues is the name of the health check that Polls.Watch reports to.
const CheckQueues = "queues"

const (
	// settledPoll is how long a poll must be open to count as accepted: Temporal
	// refuses one at once, and keeps an accepted one for up to a minute.
	settledPoll = 2 * time.Second

	// pollsInterval is how soon /readyz follows a change.
	pollsInterval = 500 * time.Millisecond
)

// PollMonitor knows whether Temporal accepts the polls of the task queues that a
// process cannot do without. Whether a namespace can be described says nothing
// of that: the credentials may be allowed one and not the other.
type PollMonitor struct {
	mu     sync.Mutex
	queues []*polledQueue
}

// polledQueue is one task queue. All pollers of it in this process count alike.
type polledQueue struct {
	name string
	kind enums.TaskQueueType

	open    map[*poll]bool
	ended   bool      // a poll has
	refusal error     // of the poll that ended last
	since   time.Time // when that was
}

type poll struct{ began time.Time }

// NewPollMonitor looks at the queue of workflow tasks and at the queues of activities
// that are named here, and at no other.
func NewPollMonitor(workflows string, activities ...string) *PollMonitor {
	p := &PollMonitor{}
	add := func(name string, kind enums.TaskQueueType) {
		p.queues = append(p.queues, &polledQueue{name: name, kind: kind, open: make(map[*poll]bool)})
	}
	add(workflows, enums.TASK_QUEUE_TYPE_WORKFLOW)
	for _, name := range activities {
		add(name, enums.TASK_QUEUE_TYPE_ACTIVITY)
	}
	return p
}

// intercept is a grpc.UnaryClientInterceptor.
func (p *PollMonitor) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ended := p.begin(request)
	err := invoke(ctx, method, request, reply, conn, options...)
	ended(ctx, err)
	return err
}

// begin notes that a poll begins. Any other call is none.
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
	queue.open[one] = true
	return func(ctx context.Context, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(queue.open, one)
		if ctx.Err() == nil || status.Code(err) != codes.Canceled { // a poll that this process broke off says nothing
			queue.ended, queue.refusal, queue.since = true, err, time.Now()
		}
	}
}

// find leaves out the queue that a worker's cached runs have to themselves.
func (p *PollMonitor) find(asked *taskqueue.TaskQueue, kind enums.TaskQueueType) *polledQueue {
	for _, queue := range p.queues {
		if queue.name == asked.GetName() && queue.kind == kind && asked.GetKind() != enums.TASK_QUEUE_KIND_STICKY {
			return queue
		}
	}
	return nil
}

// errNotPolled is what a queue says of itself before a poll was accepted.
var errNotPolled = errors.New("is not polled yet")

// problem is nil if the poll that ended last was accepted, or if one that began
// after a refusal has been open for settledPoll.
func (q *polledQueue) problem() error {
	if q.ended && q.refusal == nil {
		return nil
	}
	for one := range q.open {
		if time.Since(one.began) >= settledPoll && one.began.After(q.since) {
			return nil
		}
	}
	if q.ended {
		return q.refusal
	}
	return errNotPolled
}

// pollProblem says which queue Temporal does not let this process poll.
type pollProblem struct {
	queue string
	call  string
	err   error
}

// Error says what was asked, what came back and what to do.
func (e *pollProblem) Error() string {
	if errors.Is(e.err, errNotPolled) {
		return fmt.Sprintf("task queue %s %s", e.queue, errNotPolled)
	}
	return fmt.Sprintf("task queue %s: %s: %s: %s; %s", e.queue, e.call, codeOf(e.err), message(e.err), e.cure())
}

// Unwrap gives Temporal's answer.
func (e *pollProblem) Unwrap() error { return e.err }

func (e *pollProblem) cure() string {
	switch codeOf(e.err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return "allow these credentials (TEMPORAL_API_KEY, or the client certificate in TEMPORAL_TLS_*) to poll task queues of TEMPORAL_NAMESPACE"
	case codes.NotFound, codes.InvalidArgument:
		return "correct TEMPORAL_NAMESPACE or FANOUT_TASK_QUEUE"
	default:
		return "none needed unless this lasts: it is polled again"
	}
}

// problem is that of the first queue that has one.
func (p *PollMonitor) problem() *pollProblem {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, queue := range p.queues {
		if err := queue.problem(); err != nil {
			return &pollProblem{queue: queue.name, call: "Poll" + queue.kind.String() + "TaskQueue", err: err}
		}
	}
	return nil
}

// Watch keeps the health check CheckQueues true until ctx ends. It logs when
// Temporal refuses the polls of a queue, every 30 s while it does, and the end
// of that.
func (p *PollMonitor) Watch(ctx context.Context, health *Health, log *slog.Logger) {
	began := time.Now()
	refused := newOutage(log, "waiting to poll a task queue", "Temporal accepts the polls of every task queue again")
	for pause(ctx, pollsInterval) {
		problem := p.problem()
		switch {
		case problem == nil:
			health.Set(CheckQueues, nil)
			refused.over()
			continue
		case !errors.Is(problem, errNotPolled):
			refused.goesOn("task_queue", problem.queue, "call", problem.call,
				"code", codeOf(problem.err).String(), "error", message(problem.err), "cure", problem.cure())
		case time.Since(began) >= remindInterval:
			refused.goesOn("task_queue", problem.queue, "call", problem.call, "error", errNotPolled)
		}
		health.Set(CheckQueues, problem)
	}
}
