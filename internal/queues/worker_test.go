package queues

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
)

// sdkWorker is one of the SDK, of which only its beginning and end matter.
type sdkWorker struct {
	worker.Worker
	fatal   func(error)
	refuse  error
	stopped atomic.Int32
}

func (w *sdkWorker) Start() error { return w.refuse }
func (w *sdkWorker) Stop()        { w.stopped.Add(1) }

func TestAWorkerThatEndedIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := make(chan *sdkWorker, 10)
		refusals := []error{nil, errors.New("the namespace is not back yet"), nil}
		w := newWorker("queue", slog.New(slog.DiscardHandler), func(fatal func(error)) worker.Worker {
			one := &sdkWorker{fatal: fatal, refuse: refusals[0]}
			refusals = refusals[1:]
			made <- one
			return one
		})
		require.NoError(t, w.Start())
		first := <-made
		began := time.Now()
		go first.fatal(errors.New("namespace not found"))
		<-made
		assert.Equal(t, renewAfter, time.Since(began))
		assert.EqualValues(t, 1, first.stopped.Load(), "what it has in flight ends first")
		third := <-made
		assert.Equal(t, 2*renewAfter, time.Since(began), "it is tried until it starts")

		go third.fatal(errors.New("namespace not found"))
		synctest.Wait()
		w.Stop()
		time.Sleep(2 * renewAfter) // by the bubble's clock
		assert.Empty(t, made, "a worker that was stopped stays so")
		assert.EqualValues(t, 1, third.stopped.Load())
	})
}
