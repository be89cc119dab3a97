package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
)

// The right to register them may be granted after the processes have started. Runs that start after
// that have search attributes.
func TestSearchAttributes_AreSetOnceTheyCanBeRegistered(t *testing.T) {
	t.Parallel()
	temporal := ownTemporal(t)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": answers(http.StatusBadRequest)}, oneTarget)
	proxy := s.startTemporalProxy()
	proxy.Reject("AddSearchAttributes", codes.PermissionDenied, "not you")
	throughProxy := "TEMPORAL_ADDRESS=" + proxy.Address()
	worker, ingest := s.run("worker", throughProxy), s.run("ingest", throughProxy)
	s.publish(0, 1)
	s.record("analytics", s.id(0))
	assert.Empty(t, s.attributes(s.id(0)))

	proxy.Reject("AddSearchAttributes", codes.OK, "")
	for _, p := range []*devstack.Process{worker, ingest} {
		_, err := p.WaitLine(s.ctx, "search attributes are available")
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(p.Text(), "search attributes are not available"))
	}
	s.publish(1, 1)
	s.record("analytics", s.id(1))
	s.eventually(func() bool { return s.attributes(s.id(1))["DeadLetterTargets"] == `["analytics"]` }, "the run has the search attribute DeadLetterTargets")
	assert.Equal(t, `"conversation.started"`, s.attributes(s.id(1))["EventType"])
}

// attributes returns the project's search attributes of the run of an event, as JSON.
func (s *stack) attributes(eventID string) map[string]string {
	s.t.Helper()
	described, err := s.client.DescribeWorkflowExecution(s.ctx, fanout.WorkflowID(eventID), "")
	require.NoError(s.t, err)
	got := make(map[string]string)
	for name, payload := range described.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields() {
		switch name {
		case "EventType", "InteractionId", "ChannelType", "DeadLetterTargets":
			got[name] = string(payload.GetData())
		}
	}
	return got
}
