package activities

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"genesys-fanout/target"
)

const (
	// transportAge is how long new requests go to the same transport, give or take
	// ageSpread of it. A kept-alive connection never asks DNS again, so a target
	// that has moved to other addresses would otherwise keep its old one for as
	// long as it gets requests. The spread keeps processes that started together
	// from connecting together.
	transportAge = 10 * time.Minute
	ageSpread    = 0.1

	// An HTTP/2 connection on which nothing was received for pingAfter is asked
	// for a sign of life, and closed if none comes within pingTimeout. All requests
	// of a target share one such connection: if it goes silent, as behind a load
	// balancer that has forgotten it, each of them would run into its timeout.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second

	// sessions is how many TLS sessions of one target are kept to be resumed. They
	// are kept by the name of the server, of which a target has one.
	sessions = 4
)

// connections are the HTTP connections of this process to one target. Both lanes
// use them. New requests go to the current transport, which is replaced from time
// to time; requests in flight end on the one they began on, and its connections
// are closed when the last of them has ended.
type connections struct {
	new func() *http.Transport
	now func() time.Time

	mu      sync.Mutex
	current *transport // nil: the next request makes one
}

// transport is one http.Transport and the number of requests that are on it.
type transport struct {
	*http.Transport
	client    *http.Client
	replaceAt time.Time
	inFlight  int
	retired   bool
}

// borrow returns the transport for one request. It must be given back when the
// answer's body is closed.
func (c *connections) borrow() *transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current != nil && !now.Before(c.current.replaceAt) {
		c.retire()
	}
	if c.current == nil {
		age := float64(transportAge) * (1 + ageSpread*(2*rand.Float64()-1))
		made := c.new()
		c.current = &transport{
			Transport: made,
			client:    &http.Client{Transport: answers{made}},
			replaceAt: now.Add(time.Duration(age)),
		}
	}
	c.current.inFlight++
	return c.current
}

// giveBack ends a request.
func (c *connections) giveBack(t *transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.inFlight--
	t.closeIfDone()
}

// replace makes the next request begin on a new transport, and so on a new
// connection.
func (c *connections) replace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retire()
}

func (c *connections) retire() {
	if c.current != nil {
		c.current.retired = true
		c.current.closeIfDone()
		c.current = nil
	}
}

// closeIfDone closes the connections of a retired transport. It must not be called
// while a request is on it, because a connection that was chosen for a request and
// has not sent it yet counts as idle. What becomes idle later closes by itself.
func (t *transport) closeIfDone() {
	if t.retired && t.inFlight == 0 {
		go t.CloseIdleConnections() // a peer that does not read can delay it for seconds
	}
}

// network makes the connections of every target.
type network struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	roots *tls.Config // what every handshake begins with
	now   func() time.Time

	mu sync.Mutex
	by map[string]*connections
}

func newNetwork() *network {
	return &network{
		dial:  (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		roots: &tls.Config{MinVersion: tls.VersionTLS12},
		now:   time.Now,
		by:    make(map[string]*connections),
	}
}

// to returns the connections to a target.
func (n *network) to(t *target.Target) *connections {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.by[t.Name()]
	if c == nil {
		config := n.roots.Clone()
		config.ClientSessionCache = tls.NewLRUClientSessionCache(sessions) // one for all transports of the target
		c = &connections{now: n.now, new: func() *http.Transport { return n.transport(t, config.Clone()) }}
		n.by[t.Name()] = c
	}
	return c
}

// transport makes a transport for one target. Its idle connections are bounded by
// max_concurrency, because no more requests are in flight at once. Each takes some
// 20 KB, with TLS twice that.
func (n *network) transport(t *target.Target, config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         n.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConns:        t.MaxConcurrency,
		MaxIdleConnsPerHost: t.MaxConcurrency,
		// Many servers and load balancers close an idle connection after 60 s. It is
		// closed before that, so that no request meets a connection that is closing.
		IdleConnTimeout:    50 * time.Second,
		DisableCompression: true, // the answer's body is not used
	}
}

// answers is an http.RoundTripper that leaves http.Client nothing to do with an
// answer. It follows no redirect: a redirect is an answer, and a POST that moves on
// its own would deliver to a target that nobody configured.
type answers struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	// Without a Location http.Client follows nothing. With one that it cannot parse
	// it fails, and the answer would count as a failure of the connection.
	response.Header.Del("Location")
	if response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // it is the connection itself, which no context ends
		response.Body = http.NoBody
	}
	return response, nil
}
