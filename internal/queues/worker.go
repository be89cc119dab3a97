package queues

import (
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
)

// renewAfter is the wait before a worker that Temporal refused is made anew.
const renewAfter = 10 * time.Second

// Worker polls one task queue. The SDK's worker ends for good when Temporal says
// for two minutes that it does not know the namespace; this one is then made
// anew until it is back.
type Worker struct {
	queue string
	log   *slog.Logger
	build func(fatal func(error)) worker.Worker

	mu      sync.Mutex
	current worker.Worker
	stop    chan struct{}
}

func newWorker(queue string, log *slog.Logger, build func(fatal func(error)) worker.Worker) *Worker {
	return &Worker{queue: queue, log: log, build: build, stop: make(chan struct{})}
}

// Start begins to poll. It fails when Temporal refuses.
func (w *Worker) Start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = w.build(w.renew)
	return w.current.Start()
}

// Stop polls no more and waits for what is in flight, at most as long as the
// worker's grace.
func (w *Worker) Stop() {
	close(w.stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current.Stop()
}

// renew is called, on a goroutine of its own, when the SDK's worker has ended.
func (w *Worker) renew(err error) {
	w.log.Error("Temporal refuses to be polled; trying again", "task_queue", w.queue, "error", err, "in", renewAfter)
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(renewAfter):
		}
		if w.replace() == nil {
			return
		}
	}
}

func (w *Worker) replace() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current.Stop()
	select {
	case <-w.stop:
		return nil
	default:
	}
	w.current = w.build(w.renew)
	return w.current.Start()
}
