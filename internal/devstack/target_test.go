package devstack_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

func startTarget(t *testing.T, options devstack.TargetOptions) *devstack.Target {
	t.Helper()
	target, err := devstack.StartTarget(deadline(t), options)
	require.NoError(t, err)
	t.Cleanup(target.Close)
	return target
}

// post sends an event and returns the status and the body of the answer.
func post(ctx context.Context, c *http.Client, target *devstack.Target, event string, attempt int) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.URL()+"/events", strings.NewReader("body of "+event))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Genesys-Event-ID", event)
	req.Header.Set("X-Delivery-Attempt", strconv.Itoa(attempt))
	req.Header.Set("Idempotency-Key", event)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestTarget_AnswersByItsScriptAndRecordsRequests(t *testing.T) {
	ctx := deadline(t)
	target := startTarget(t, devstack.TargetOptions{
		Headers: []string{"idempotency-key"},
		Script: func(r devstack.Request) devstack.Answer {
			if r.Attempt == 1 {
				return devstack.Answer{Status: http.StatusServiceUnavailable, Header: http.Header{"retry-after": {"7"}}, Body: "later"}
			}
			return devstack.Answer{}
		},
	})
	status, body, err := post(ctx, http.DefaultClient, target, "a", 1)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "later", body)
	status, _, err = post(ctx, http.DefaultClient, target, "a", 2)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	_, _, err = post(ctx, http.DefaultClient, target, "b", 2)
	require.NoError(t, err)

	require.NoError(t, target.Wait(ctx, func(t *devstack.Target) bool {
		all := t.Requests()
		return len(all) == 3 && all[2].Status != 0
	}))
	of := target.ByEvent("a")
	require.Len(t, of, 2)
	assert.Equal(t, []int{1, 2}, []int{of[0].Attempt, of[1].Attempt})
	assert.Equal(t, []int{http.StatusServiceUnavailable, http.StatusOK}, []int{of[0].Status, of[1].Status})
	assert.Equal(t, "POST /events", of[0].Method+" "+of[0].Path)
	assert.Equal(t, sha256.Sum256([]byte("body of a")), of[0].SHA256)
	assert.Equal(t, http.Header{"Idempotency-Key": {"a"}}, of[0].Header)
	assert.Nil(t, of[0].Body)
	assert.Equal(t, 2, target.Events())

	target.ClearRequests()
	assert.Zero(t, target.Count())
}

func TestTarget_ResetHangAndOutage(t *testing.T) {
	ctx := deadline(t)
	target := startTarget(t, devstack.TargetOptions{})
	ask := func(ctx context.Context) error {
		_, _, err := post(ctx, http.DefaultClient, target, "a", 1)
		return err
	}
	require.NoError(t, ask(ctx)) // leaves an idle connection, which the next request uses

	target.SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Reset: true} })
	require.Error(t, ask(ctx))

	target.SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Hang: true} })
	impatient, giveUp := context.WithCancel(ctx)
	gaveUp := make(chan error, 1)
	before := target.Count()
	go func() { gaveUp <- ask(impatient) }()
	require.NoError(t, target.Wait(ctx, func(t *devstack.Target) bool { return t.Count() > before }))
	giveUp()
	require.ErrorIs(t, <-gaveUp, context.Canceled)

	target.SetScript(nil)
	require.NoError(t, ask(ctx))
	url := target.URL()
	target.Stop()
	require.Error(t, ask(ctx))
	require.NoError(t, target.Start(ctx))
	assert.Equal(t, url, target.URL())
	require.NoError(t, ask(ctx))
}

func TestTarget_CountsEveryRequestUnderLoad(t *testing.T) {
	const senders, each = 8, 500
	ctx := deadline(t)
	target := startTarget(t, devstack.TargetOptions{})
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer c.CloseIdleConnections()
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				_, _, err := post(ctx, c, target, strconv.Itoa(s*each+i), 1)
				assert.NoError(t, err)
			}
		})
	}
	require.NoError(t, target.Wait(ctx, func(t *devstack.Target) bool { return t.Events() == senders*each }))
	all.Wait()
	assert.Equal(t, senders*each, target.Count())

	short, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, target.Wait(short, func(*devstack.Target) bool { return false }), context.Canceled)
}
