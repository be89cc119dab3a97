package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"

	"genesys-fanout/target"
)

// Targets makes a check for each target: its name, its port and, for https, its
// certificate. No request is sent. Where a proxy leads to a target only the proxy
// is reached.
func Targets(set *target.Set) []Check {
	var checks []Check
	for _, t := range set.All() {
		checks = append(checks, Check{Name: "target " + t.Name(), Run: func(ctx context.Context) []Result {
			return []Result{reachTarget(ctx, t)}
		}})
	}
	return checks
}

func reachTarget(ctx context.Context, t *target.Target) Result {
	if t.State == target.Retired {
		return Skip("retired: it is sent nothing")
	}
	result := dialTarget(ctx, t)
	if t.State == target.Paused && result.Status == Failed {
		result.Status = Warning
		result.Detail += " (paused: its queue waits)"
	}
	return result
}

func dialTarget(ctx context.Context, t *target.Target) Result {
	address, err := url.Parse(t.URL)
	if err != nil { // target.Load has read it
		return Fail("its URL cannot be read", urlCure(t))
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: address})
	if err != nil {
		return Fail("the proxy's address cannot be read", proxyCure)
	}
	if proxy != nil {
		reached, err := Reach(ctx, hostPort(proxy), secured(proxy))
		if err != nil {
			return Fail("its proxy: "+err.Error(), proxyCure)
		}
		return Pass("%s, its proxy (the target behind it was not tried)", reached)
	}
	reached, err := Reach(ctx, hostPort(address), secured(address))
	if fault, ok := errors.AsType[*ReachError](err); ok {
		return Fail(fault.Error(), targetCure(t, fault.Step))
	}
	return Pass("%s", reached)
}

// secured is nil for a URL without TLS. Deliveries verify as crypto/tls does by
// default.
func secured(u *url.URL) *tls.Config {
	if u.Scheme != "https" {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// hostPort is what is dialed for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "socks5", u.Scheme == "socks5h":
		port = "1080"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

const proxyCure = "correct HTTPS_PROXY or HTTP_PROXY, or name the target's host in NO_PROXY"

func urlCure(t *target.Target) string { return "correct the url of " + t.Name() + " in FANOUT_TARGETS" }

func targetCure(t *target.Target, step Step) string {
	switch step {
	case Resolve:
		return urlCure(t) + ", and check this machine's DNS"
	case Connect:
		return urlCure(t) + ", see that the service runs and that a firewall lets its port through"
	case Untrusted:
		return "add the CA of its certificate to the system's roots, or name its file in SSL_CERT_FILE"
	case OutOfTime:
		return "renew its certificate, or correct this machine's clock"
	case OtherHost:
		return urlCure(t) + ": the certificate is another host's"
	}
	return urlCure(t) + ": what answers there does not speak TLS as https needs it"
}
