package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Step is where a connection that did not come about ended.
type Step int

// The steps in their order; those of TLS say what is wrong with the certificate.
const (
	Resolve   Step = iota // the name has no address
	Connect               // nobody listens, or nothing answers
	Untrusted             // TLS: the certificate is of an authority that is not trusted
	OutOfTime             // TLS: the certificate has expired, or is not valid yet
	OtherHost             // TLS: the certificate is another host's
	Handshake             // TLS: anything else, as where the other side speaks none
)

// ReachError is a connection that did not come about.
type ReachError struct {
	Step Step
	Err  error
}

// Error is what was wrong, with the addresses that were dialed.
func (f *ReachError) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *ReachError) Unwrap() error { return f.Err }

// Reach resolves the name in address, host:port, connects to it and, where config
// is not nil, makes the handshake of TLS, then closes the connection. It tells
// what it reached; the error is a *Fault. config may be shared: it is not changed.
func Reach(ctx context.Context, address string, config *tls.Config) (reached string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		step := Connect
		if errors.As(err, new(*net.DNSError)) {
			step = Resolve
		}
		return "", &ReachError{step, err}
	}
	defer func() { _ = conn.Close() }() // nothing was sent that could be lost
	reached = "connected to " + address
	if remote := conn.RemoteAddr().String(); remote != address {
		reached += " (" + remote + ")"
	}
	if config == nil {
		return reached, nil
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address) // which was dialed, so it is one
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return "", handshakeFault(ctx, address, err)
	}
	return reached + ", " + describe(secured.ConnectionState()), nil
}

func handshakeFault(ctx context.Context, address string, err error) *ReachError {
	var invalid x509.CertificateInvalidError
	step := Handshake
	switch {
	case ctx.Err() != nil:
		err = errors.New("no answer to the handshake in time")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		step = OutOfTime
	case errors.As(err, new(x509.HostnameError)):
		step = OtherHost
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.SystemRootsError)), errors.As(err, new(*tls.CertificateVerificationError)):
		step = Untrusted
	case errors.Is(err, io.EOF):
		err = errors.New("the connection was closed during the handshake")
	}
	return &ReachError{step, fmt.Errorf("TLS with %s: %w", address, err)}
}

func describe(state tls.ConnectionState) string {
	text := tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		text += ", certificate valid until " + state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)
	}
	return text
}
