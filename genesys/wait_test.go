package genesys_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// script returns the result of the given try, counted from 1; nil is success.
type script func(ctx context.Context, try int) error

// scriptedSource is a Source that follows a script.
type scriptedSource struct {
	play  script
	tries []time.Time
}

func (s *scriptedSource) ConnectionDetails(ctx context.Context) (genesys.ConnectionDetails, error) {
	s.tries = append(s.tries, time.Now())
	if err := s.play(ctx, len(s.tries)); err != nil {
		return genesys.ConnectionDetails{}, err
	}
	return genesys.ConnectionDetails{BootstrapServers: "h:1"}, nil
}

func (s *scriptedSource) gaps() []time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(s.tries); i++ {
		gaps = append(gaps, s.tries[i].Sub(s.tries[i-1]))
	}
	return gaps
}

var busy = &genesys.TransientError{Request: "GET /x", Status: 503}

const limit = 5 * time.Minute

func TestWaitForDetails_BacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &scriptedSource{play: func(_ context.Context, try int) error {
			if try < 9 {
				return busy
			}
			return nil
		}}
		var logged bytes.Buffer
		got, err := genesys.WaitForDetails(t.Context(), src, limit, slog.New(slog.NewTextHandler(&logged, nil)))
		require.NoError(t, err)
		assert.Equal(t, "h:1", got.BootstrapServers)
		assert.Equal(t, 8, strings.Count(logged.String(), "\n"), "one line for each wait")
		jittered := 0
		for i, seconds := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			gap, least := src.gaps()[i], seconds*time.Second
			assert.GreaterOrEqual(t, gap, least)
			assert.LessOrEqual(t, gap, least+least/5)
			if gap > least {
				jittered++
			}
		}
		assert.Positive(t, jittered)
	})
}

func TestWaitForDetails_WaitsAtLeastRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &scriptedSource{play: func(_ context.Context, try int) error {
			switch try {
			case 1:
				return &genesys.TransientError{Status: 429, RetryAfter: 50 * time.Second}
			case 2:
				return &genesys.TransientError{Status: 429, RetryAfter: time.Second}
			}
			return nil
		}}
		_, err := genesys.WaitForDetails(t.Context(), src, limit, nil)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, src.gaps()[0], 50*time.Second)
		assert.GreaterOrEqual(t, src.gaps()[1], 2*time.Second, "a Retry-After that is shorter than the backoff does not shorten it")
		assert.Less(t, src.gaps()[1], 3*time.Second)
	})
}

func TestWaitForDetails_GivesUp(t *testing.T) {
	rejected := &genesys.RejectedError{Request: "POST /oauth/token", Status: 401}
	other := errors.New("an error of another Source")
	hang := func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, tt := range []struct {
		name        string
		play        script
		want        error
		least, most time.Duration
	}{
		{"at once on a rejection", func(context.Context, int) error { return rejected }, rejected, 0, 0},
		{"on a later rejection", func(_ context.Context, try int) error {
			if try == 1 {
				return busy
			}
			return rejected
		}, rejected, time.Second, 2 * time.Second},
		{"at the limit", func(context.Context, int) error { return busy }, busy, limit - 11*time.Second, limit - 10*time.Second},
		{"at the limit, with errors of an unknown type", func(context.Context, int) error { return other }, other, limit - 11*time.Second, limit - 10*time.Second},
		{"at once if Retry-After is longer than the limit", func(context.Context, int) error {
			return &genesys.TransientError{Status: 429, RetryAfter: time.Hour}
		}, nil, 0, 0},
		{"at the limit if a try hangs", hang, context.DeadlineExceeded, limit, limit},
		{"with the error of the try before the hanging one", func(ctx context.Context, try int) error {
			if try == 1 {
				return busy
			}
			return hang(ctx, try)
		}, busy, limit, limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				_, err := genesys.WaitForDetails(t.Context(), &scriptedSource{play: tt.play}, limit, nil)
				require.Error(t, err)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
				assert.GreaterOrEqual(t, time.Since(begin), tt.least)
				assert.LessOrEqual(t, time.Since(begin), tt.most)
			})
		})
	}
}

func TestWaitForDetails_EndsWithItsContext(t *testing.T) {
	stop := errors.New("SIGTERM")
	for name, play := range map[string]script{
		"between tries": func(context.Context, int) error { return &genesys.TransientError{RetryAfter: time.Minute} },
		"during a try": func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return &genesys.TransientError{Err: ctx.Err()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(5*time.Second, func() { cancel(stop) })
				begin := time.Now()
				var logged bytes.Buffer
				_, err := genesys.WaitForDetails(ctx, &scriptedSource{play: play}, limit, slog.New(slog.NewTextHandler(&logged, nil)))
				require.ErrorIs(t, err, stop)
				assert.Equal(t, name == "between tries", logged.Len() > 0, "one line for a wait, and no line without a wait")
				assert.Equal(t, 5*time.Second, time.Since(begin))
			})
		})
	}
}
