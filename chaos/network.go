package main

import (
	"fmt"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"genesys-fanout/internal/devstack"
)

// network makes the links between the parts. Toxiproxy forwards and disturbs their connections.
type network struct{ server *toxiproxy.ApiServer }

func newNetwork() *network {
	return &network{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// link is a way from one part to another.
type link struct {
	network            *network
	from, to, upstream string
	listen             string
	proxy              *toxiproxy.Proxy
}

// connect opens a link to the part to, which listens on upstream. The part from connects to the
// link's address.
func (n *network) connect(from, to, upstream string) (*link, error) {
	l := &link{network: n, from: from, to: to, upstream: upstream, listen: devstack.Loopback(0)}
	err := l.open()
	l.listen = l.proxy.Listen
	return l, err
}

// open opens the link on its address, with a new proxy.
func (l *link) open() error {
	l.proxy = toxiproxy.NewProxy(l.network.server, l.from+" to "+l.to, l.listen, l.upstream)
	if err := l.proxy.Start(); err != nil {
		return fmt.Errorf("link from %s to %s: %w", l.from, l.to, err)
	}
	return nil
}

func (l *link) address() string { return l.listen }
func (l *link) close()          { l.proxy.Stop() }

// disorder is a way in which a link may fail.
type disorder string

// The disorders of a link. Each applies to open and to new connections.
const (
	latency   disorder = "latency"    // 1.5 s, half a second more or less
	cut       disorder = "cut"        // connections break, new ones are refused
	reset     disorder = "reset"      // connections are reset when data passes
	slowClose disorder = "slow close" // connections close after 3 s
	silence   disorder = "silence"    // connections stay, and no data passes
)

func disorders() []disorder { return []disorder{latency, cut, reset, slowClose, silence} }

// toxics returns the disorder in Toxiproxy's words, for one direction.
func (d disorder) toxic(direction string) string {
	const form = `{"name": %q, "type": %q, "stream": %q, "toxicity": 1, "attributes": {%s}}`
	kind, attributes := "", ""
	switch d {
	case latency:
		kind, attributes = "latency", `"latency": 1500, "jitter": 500`
	case reset:
		kind, attributes = "reset_peer", `"timeout": 0`
	case slowClose:
		kind, attributes = "slow_close", `"delay": 3000`
	case silence:
		kind, attributes = "timeout", `"timeout": 0`
	case cut:
	}
	return fmt.Sprintf(form, direction, kind, direction, attributes)
}

// disturb begins a disorder, until mend is called.
func (l *link) disturb(d disorder) (mend func() error, err error) {
	if d == cut {
		l.proxy.Stop()
		return l.proxy.Start, nil
	}
	for _, direction := range []string{"upstream", "downstream"} {
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(d.toxic(direction))); err != nil {
			return nil, fmt.Errorf("%s on the link from %s to %s: %w", d, l.from, l.to, err)
		}
	}
	// The connections are closed at the end, because bytes may be missing in them. A new proxy follows,
	// because the removal of toxics from closed connections does not end.
	return func() error {
		l.proxy.Stop()
		return l.open()
	}, nil
}
