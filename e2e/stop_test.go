package e2e

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// stopLimit is the documented limit: the longest timeout of a target, here the default of 5 s, and
// 10 s.
const stopLimit = 15 * time.Second

// SIGTERM ends both processes with 0 within the limit, whichever servers do not answer, and with starts
// and deliveries in flight. The log names the parts that were not stopped in time. No event is lost.
func TestStop_EndsWithinTheLimitIfPeersDoNotAnswer(t *testing.T) {
	const (
		queues = `msg="the stop was cut off" limit=15s unfinished="Temporal's task queues"`
		group  = "Kafka did not answer the last commit or the leave of the group in time"
	)
	for name, test := range map[string]struct {
		temporal, kafka bool
		firstAttempts   string   // the process that makes the first attempts, and so has requests in flight
		cutOff          []string // parts of ingest's log about its stop
	}{
		"temporal":                   {true, false, "ingest", []string{queues}},
		"kafka":                      {false, true, "ingest", []string{group}},
		"temporal and kafka":         {true, true, "ingest", []string{queues, group}},
		"temporal and a busy worker": {true, false, "worker", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka := ownKafka(t, devstack.KafkaOptions{Backend: devstack.BackendKfake})
			slow := func(devstack.Request) devstack.Answer {
				return devstack.Answer{Status: http.StatusOK, Delay: 3 * time.Second}
			}
			s := newStackOn(t, shared.temporal, kafka, targetScripts{"analytics": slow}, oneTarget)
			proxy := s.startTemporalProxy()
			throughProxy := "TEMPORAL_ADDRESS=" + proxy.Address()
			eager := fmt.Sprintf("FANOUT_EAGER_START=%t", test.firstAttempts == "ingest")
			worker, ingest := s.run("worker", throughProxy), s.run("ingest", throughProxy, eager)
			s.publish(0, 200)
			s.waitFor("analytics", hasEvents(10))

			if test.temporal {
				proxy.Silence()
			}
			if test.kafka {
				require.NoError(t, kafka.Silence())
			}
			began := time.Now()
			for _, p := range []*devstack.Process{ingest, worker} {
				require.NoError(t, p.Signal(syscall.SIGTERM))
			}
			for _, p := range []*devstack.Process{ingest, worker} {
				code, err := p.Wait(s.ctx)
				require.NoError(t, err)
				assert.Zero(t, code, p.Text())
			}
			assert.Less(t, time.Since(began), stopLimit)
			for _, part := range test.cutOff {
				assert.Contains(t, ingest.Text(), part)
			}

			proxy.EndSilence()
			kafka.EndSilence()
			s.run("worker")
			s.run("ingest")
			s.atLeastOnce("analytics", 200)
			s.waitCommitted(200)
		})
	}
}
