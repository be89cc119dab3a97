package process

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

type attributes = map[string]enums.IndexedValueType

var keys = []temporal.SearchAttributeKey{
	temporal.NewSearchAttributeKeyKeyword("Color"),
	temporal.NewSearchAttributeKeyKeyword("Size"),
	temporal.NewSearchAttributeKeyKeywordList("Tags"),
}

// namespaceWith returns the catalog of a namespace that accepts new attributes at once.
func namespaceWith(have attributes) (c catalog, added *attributes) {
	added = &attributes{}
	return catalog{
		wanted: typesOf(keys),
		list:   func(context.Context) (attributes, error) { return have, nil },
		add: func(_ context.Context, missing attributes) error {
			maps.Copy(have, missing)
			maps.Copy(*added, missing)
			return nil
		},
		usable: func(context.Context) error { return nil },
	}, added
}

func TestSearchAttributes_AddsOnlyMissingOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, added := namespaceWith(attributes{"Color": enums.INDEXED_VALUE_TYPE_KEYWORD, "Theirs": enums.INDEXED_VALUE_TYPE_INT})
		require.NoError(t, c.ensure(t.Context()))
		assert.Equal(t, attributes{
			"Size": enums.INDEXED_VALUE_TYPE_KEYWORD,
			"Tags": enums.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		}, *added)

		*added = attributes{}
		require.NoError(t, c.ensure(t.Context()))
		assert.Empty(t, *added)
	})
}

func TestSearchAttributes_OfAnotherTypeFailWithTheCure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, added := namespaceWith(attributes{"Color": enums.INDEXED_VALUE_TYPE_TEXT})
		err := c.ensure(t.Context())
		require.EqualError(t, err, "Color is registered as Text, not as Keyword")
		assert.Empty(t, *added)
		assert.Equal(t, "temporal operator search-attribute remove --namespace fanout --name Color", cureCommand("fanout", c.wanted, err))
	})
}

func TestSearchAttributes_ARejectedAdditionDoesNotDelayTheStart(t *testing.T) {
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unimplemented, codes.InvalidArgument} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c, _ := namespaceWith(attributes{})
			rejected := status.Error(code, "no")
			c.add = func(context.Context, attributes) error { return rejected }
			require.ErrorIs(t, c.ensure(t.Context()), rejected)
			assert.Zero(t, time.Since(start))
		})
	}
}

func TestSearchAttributes_AnotherProcessMayAddThemFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		have := attributes{}
		c, _ := namespaceWith(have)
		c.add = func(_ context.Context, missing attributes) error {
			maps.Copy(have, missing)
			return status.Error(codes.InvalidArgument, "already exists")
		}
		require.NoError(t, c.ensure(t.Context()))
	})
}

func TestSearchAttributes_RetriesTransientErrorsFor15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c, _ := namespaceWith(attributes{})
		c.usable = func(context.Context) error {
			if time.Since(start) < 14*time.Second {
				return status.Error(codes.InvalidArgument, "invalid search attribute")
			}
			return nil
		}
		require.NoError(t, c.ensure(t.Context()), "listed before it is usable")
		assert.Equal(t, 14*time.Second, time.Since(start))

		start = time.Now()
		away := status.Error(codes.Unavailable, "away")
		c.list = func(context.Context) (attributes, error) { return nil, away }
		require.ErrorIs(t, c.ensure(t.Context()), away)
		assert.Equal(t, registerLimit, time.Since(start))

		hanging := c
		hanging.list = func(ctx context.Context) (attributes, error) { <-ctx.Done(); return nil, ctx.Err() }
		start = time.Now()
		require.ErrorIs(t, hanging.ensure(t.Context()), context.DeadlineExceeded)
		assert.Equal(t, registerLimit, time.Since(start))

		start = time.Now()
		hanging.list = func(ctx context.Context) (attributes, error) {
			if time.Since(start) < time.Second {
				return nil, away
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		require.ErrorIs(t, hanging.ensure(t.Context()), away, "the end of the limit does not hide the error before it")
	})
}

func TestSearchAttributes_WarnsOnceIfTheyCannotBeRegistered(t *testing.T) {
	listener := listen(t, "127.0.0.1:0")
	(&frontend{describe: func(context.Context, string) error { return nil }}).serve(t, listener)
	conn, _ := connection(t, Env{"TEMPORAL_ADDRESS": listener.Addr().String()})
	c, err := Dial(t.Context(), conn)
	require.NoError(t, err)
	defer c.Close()

	var out bytes.Buffer
	ok, err := EnsureSearchAttributes(t.Context(), c, "fanout", keys, Logger(&out, "info", "text"))
	require.NoError(t, err)
	assert.False(t, ok.Usable())
	assert.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
	for _, want := range []string{
		"level=WARN", "cannot be searched by Color, Size, Tags",
		"temporal operator search-attribute create --namespace fanout --name Color --type Keyword --name Size --type Keyword --name Tags --type KeywordList",
	} {
		assert.Contains(t, out.String(), want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = EnsureSearchAttributes(ctx, c, "fanout", keys, Logger(&out, "info", "text"))
	require.ErrorIs(t, err, context.Canceled)
}

// TestSearchAttributes_BecomeUsableLater checks that a process finds out by itself if somebody
// registers the attributes, or gives it the right to, long after its start.
func TestSearchAttributes_BecomeUsableLater(t *testing.T) {
	for name, change := range map[string]func(have attributes, rejected *error){
		"by a command": func(have attributes, _ *error) { maps.Copy(have, typesOf(keys)) },
		"by a right":   func(_ attributes, rejected *error) { *rejected = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex // guards the variables below
				have, asked := attributes{}, 0
				rejected := status.Error(codes.PermissionDenied, "no")
				c, _ := namespaceWith(have)
				c.list = func(context.Context) (attributes, error) {
					mu.Lock()
					defer mu.Unlock()
					return maps.Clone(have), nil
				}
				register := c.add
				c.add = func(ctx context.Context, missing attributes) error {
					mu.Lock()
					defer mu.Unlock()
					asked++
					if rejected != nil {
						return rejected
					}
					return register(ctx, missing)
				}
				out := &syncBuffer{}
				began := time.Now()
				got, err := c.ensureNowOrLater(t.Context(), Logger(out, "info", "text"), func(error) string { return "the command" })
				require.NoError(t, err)
				assert.Zero(t, time.Since(began), "the start does not wait after a rejection")
				assert.False(t, got.Usable())

				time.Sleep(10*time.Minute + time.Second) // by the bubble's clock
				synctest.Wait()
				assert.False(t, got.Usable())
				assert.Equal(t, 1, strings.Count(out.String(), "level=WARN"), out.String())

				mu.Lock()
				assert.Equal(t, 21, asked, "at the start and every 30 s")
				change(have, &rejected)
				mu.Unlock()
				time.Sleep(registerAgainAfter + time.Second)
				synctest.Wait()
				assert.True(t, got.Usable())
				assert.Equal(t, 1, strings.Count(out.String(), `level=INFO msg="search attributes are available: new runs can be searched by Color, Size, Tags"`), out.String())
			})
		})
	}
}

func TestSearchAttributes_AreRegisteredOnARealServer(t *testing.T) {
	cli, err := devstack.TemporalCLI()
	require.NoError(t, err)
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{})
	require.NoError(t, err)
	defer server.Close()
	conn, out := connection(t, Env{"TEMPORAL_ADDRESS": server.Address()})
	c, err := Dial(t.Context(), conn)
	require.NoError(t, err)
	defer c.Close()

	for range 2 { // asking registers nothing
		require.ErrorContains(t, SearchAttributesUsable(t.Context(), c, "default", keys), "namespace default does not have Color, Size, Tags")
	}
	ok, err := EnsureSearchAttributes(t.Context(), c, "default", keys, conn.Log)
	require.NoError(t, err)
	require.True(t, ok.Usable(), out.String())
	require.NoError(t, SearchAttributesUsable(t.Context(), c, "default", keys))
	_, err = c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
		Query: "Color = 'x' AND Size = 'y' AND Tags IN ('a', 'b')",
	})
	require.NoError(t, err)

	missing, _ := connection(t, Env{"TEMPORAL_ADDRESS": server.Address(), "TEMPORAL_NAMESPACE": "nowhere"})
	_, err = Dial(t.Context(), missing)
	var rejected *RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, codes.NotFound, rejected.Code)
	assert.ErrorContains(t, err, "TEMPORAL_NAMESPACE")

	// The CLI must accept the command that the warning names.
	create := exec.CommandContext(t.Context(), cli, "operator", "namespace", "create", "--namespace", "other", "--address", server.Address())
	require.NoError(t, create.Run())
	words := strings.Fields(cureCommand("other", typesOf(keys), errors.New("any")))[1:]
	await.True(t, "the command that creates them", func() bool {
		return exec.CommandContext(t.Context(), cli, append(words, "--address", server.Address())...).Run() == nil
	})
	other := catalogOf(c, "other", typesOf(keys))
	left, err := other.missing(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
}
