package activities

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// Requests in flight when the target begins to close the connection are repeated on another
// connection. Each event arrives exactly once.
func TestSend_GOAWAYCostsNoAttempt(t *testing.T) {
	const events = 500
	var got arrivals
	acts, one := startHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		if got.count(r)%25 == 0 {
			w.Header().Set("Connection", "close") // net/http sends GOAWAY for this in HTTP/2
		}
	}, nil, `- {name: a, url: $URL}`)
	for n, answer := range sendAll(t, acts, one, events, 32) {
		assert.NoError(t, answer.err, n)
	}
	got.requireOnce(t, events)
}

// A target that allows few streams refuses those that were sent before its settings arrived.
func TestSend_RefusedStreamCostsNoAttempt(t *testing.T) {
	for name, latency := range map[string]time.Duration{"at once": 0, "after a while": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			const events = 500
			var got arrivals
			acts, one := startHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
				got.count(r)
				timer := time.NewTimer(latency)
				<-timer.C
			}, &http.HTTP2Config{MaxConcurrentStreams: 4}, `- {name: a, url: $URL}`)
			for n, answer := range sendAll(t, acts, one, events, 32) {
				assert.NoError(t, answer.err, n)
			}
			got.requireOnce(t, events)
		})
	}
}

// refuseStreams serves HTTP/2 on a connection. It refuses every stream and counts them.
func refuseStreams(conn net.Conn, config *tls.Config, refused *atomic.Int32) error {
	secured := tls.Server(conn, config)
	defer secured.Close() //nolint:errcheck // nothing is left to be sent
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(secured, preface); err != nil {
		return err
	}
	framer := http2.NewFramer(secured, secured)
	writes := make(chan func() error, 100) // on another goroutine, because the client may write before it reads
	defer close(writes)
	go func() {
		for write := range writes {
			_ = write() // its failure shows when the next frame is read
		}
	}()
	writes <- func() error { return framer.WriteSettings() }
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				writes <- framer.WriteSettingsAck
			}
		case *http2.HeadersFrame:
			refused.Add(1)
			id := frame.StreamID // the frame is valid until the next one is read
			writes <- func() error { return framer.WriteRSTStream(id, http2.ErrCodeRefusedStream) }
		}
	}
}

// net/http repeats the request three times: at once, and then after about 1 and 2 s. The error
// names the reason.
func TestSend_StreamRefusedOnEveryConnectionIsOneAttempt(t *testing.T) {
	servers, clients := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		config := servers.Clone()
		config.NextProtos = []string{"h2"}
		var refused atomic.Int32
		network := newMemory()
		go func() {
			for {
				conn, err := network.Accept()
				if err != nil {
					return
				}
				go func() { _ = refuseStreams(conn, config, &refused) }()
			}
		}()
		set := load(t, "https://example.com", `- {name: a, url: $URL, timeout: 10s}`)
		acts := New(Options{Targets: set})
		acts.network.dial, acts.network.tls = network.dial, clients
		one := set.All()[0]
		began := time.Now()
		got := acts.send(t.Context(), one, eventFor(1), 1, 10*time.Second)
		require.ErrorIs(t, got.err, errNotProcessed)
		assert.Equal(t, "the target did not process the request on any of 4 connections (each one ended with HTTP/2 GOAWAY or REFUSED_STREAM, or was a kept-alive connection that had been closed)", got.describeFailure(one))
		assert.EqualValues(t, maxConnections, refused.Load())
		assert.WithinRange(t, time.Now(), began.Add(3*time.Second), began.Add(5*time.Second))
		assert.Equal(t, decision{verdict: fanout.Retry, unavailable: true}, classify(0, nil, got.err, nil, time.Hour, noon))

		got = acts.send(t.Context(), one, eventFor(1), 1, time.Second)
		require.ErrorContains(t, got.err, "no answer within 1s", "the repeats are within the target's timeout")
		acts.network.connectionsTo(one).replace()
		require.NoError(t, network.Close())
		synctest.Wait()
	})
}

// deafConn writes the first request, and fails each later write without writing anything.
type deafConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *deafConn) Write(b []byte) (int, error) {
	if c.writes.Add(1) > 1 {
		return 0, errors.New("broken pipe")
	}
	return c.Conn.Write(b)
}

// If nothing was written, the target cannot have seen the request.
func TestSend_KeptAliveConnectionThatBrokeBeforeTheRequestCostsNoAttempt(t *testing.T) {
	var got arrivals
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.count(r) }))
	t.Cleanup(server.Close)
	set := load(t, server.URL, `- {name: a, url: $URL}`)
	acts := New(Options{Targets: set})
	var dials atomic.Int32
	acts.network.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &deafConn{Conn: conn}, err
	}
	for n := range 5 {
		require.NoError(t, acts.send(t.Context(), set.All()[0], eventFor(n), 1, time.Minute).err)
	}
	got.requireOnce(t, 5)
	assert.EqualValues(t, 5, dials.Load())
}

func TestSend_FailedConnectIsAnAttemptAndIsNotRepeated(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for url, want := range map[string]string{
		"http://127.0.0.1:1":                             "connection refused",
		"http://nobody.invalid":                          "nobody.invalid",
		strings.Replace(plain.URL, "http:", "https:", 1): "HTTP response to HTTPS client",
	} {
		set := load(t, url, `- {name: a, url: '$URL'}`)
		acts := New(Options{Targets: set})
		var dials atomic.Int32
		dial := acts.network.dial
		acts.network.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		}
		got := acts.send(t.Context(), set.All()[0], eventFor(1), 1, 10*time.Second)
		require.ErrorContains(t, got.err, want)
		require.NotErrorIs(t, got.err, errNotProcessed)
		assert.EqualValues(t, 1, dials.Load(), url)
	}
}

// net/http itself would repeat a request with an Idempotency-Key, whether the header is ours or
// comes from targets.yaml.
func TestSend_DoesNotRepeatARequestThatTheTargetMayHaveSeen(t *testing.T) {
	for name, headers := range map[string]string{"ours": "{}", "of targets.yaml": "{X-Idempotency-Key: a}"} {
		t.Run(name, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var requests atomic.Int32
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go answerOnce(conn, &requests)
				}
			}()
			t.Cleanup(func() { _ = listener.Close() })

			set := load(t, "http://"+listener.Addr().String(), "- {name: a, url: $URL, headers: "+headers+"}")
			acts := New(Options{Targets: set})
			d := fanout.DeliverInput{Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(message)}}
			require.Equal(t, 200, acts.send(t.Context(), set.All()[0], d, 1, time.Second).status)
			got := acts.send(t.Context(), set.All()[0], d, 1, time.Second)
			require.Error(t, got.err)
			require.NotErrorIs(t, got.err, errNotProcessed)
			assert.EqualValues(t, 2, requests.Load())
		})
	}
}

// answerOnce answers the first request on a connection. It reads the whole second request and
// closes the connection without an answer.
func answerOnce(conn net.Conn, requests *atomic.Int32) {
	defer conn.Close() //nolint:errcheck // the test looks at requests
	reader := bufio.NewReader(conn)
	for n := 1; ; n++ {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		requests.Add(1)
		if n == 2 {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}
