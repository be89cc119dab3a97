package devstack

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TemporalProxy is a gRPC proxy between a process and a Temporal server. It forwards every call,
// unless a test makes it reject, delay or lose some calls, or makes it silent.
type TemporalProxy struct {
	listener *outageListener
	server   *grpc.Server
	upstream *grpc.ClientConn

	mu    sync.Mutex
	rules map[string]*callRule // by the name of the method
}

// callRule says what the proxy does to the calls of a method.
type callRule struct {
	rejection error         // the answer, instead of the server's
	delay     time.Duration // how much later the server's answer is passed on
	losses    int           // how many calls are still lost; negative: all
	lost      int           // how many were
}

// StartTemporalProxy starts a proxy, on a free port, of the Temporal frontend at address.
func StartTemporalProxy(ctx context.Context, address string) (*TemporalProxy, error) {
	upstream, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return nil, err
	}
	listener, err := newListener(ctx, 0)
	if err != nil {
		_ = upstream.Close()
		return nil, err
	}
	p := &TemporalProxy{listener: listener, upstream: upstream, rules: make(map[string]*callRule)}
	p.server = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(maxMessageBytes), grpc.UnknownServiceHandler(p.forward))
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

// maxMessageBytes is larger than any message that the frontend accepts.
const maxMessageBytes = 64 << 20

// Address returns the proxy's host:port, a value of TEMPORAL_ADDRESS.
func (p *TemporalProxy) Address() string { return p.listener.Addr().String() }

// Reject makes the proxy answer calls of a method, such as PollWorkflowTaskQueue, with an error.
// codes.OK makes it forward them again.
func (p *TemporalProxy) Reject(method string, code codes.Code, message string) {
	p.setRule(method, callRule{rejection: status.Error(code, message)})
}

// DelayAnswers makes the proxy forward calls of a method at once, and pass the server's answers on
// after d. 0 ends that.
func (p *TemporalProxy) DelayAnswers(method string, d time.Duration) {
	p.setRule(method, callRule{delay: d})
}

// Lose makes the proxy lose the next n calls of a method: it forwards nothing, and answers only
// when the caller gives up. A negative n loses all calls, and 0 none from now on.
func (p *TemporalProxy) Lose(method string, n int) { p.setRule(method, callRule{losses: n}) }

// Lost returns how many calls of a method were lost since the last call of Lose for it.
func (p *TemporalProxy) Lost(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rule := p.rules[method]; rule != nil {
		return rule.lost
	}
	return 0
}

func (p *TemporalProxy) setRule(method string, rule callRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[method] = &rule
}

// Silence makes the proxy keep every connection open and forward nothing, not even the calls that
// have begun. It accepts new connections. EndSilence ends it.
func (p *TemporalProxy) Silence() { p.listener.beginSilence() }

// EndSilence ends a silence. What was sent during it then arrives.
func (p *TemporalProxy) EndSilence() { p.listener.endSilence() }

// Close ends the proxy and its connections.
func (p *TemporalProxy) Close() {
	_ = p.listener.Close()
	p.server.Stop()
	_ = p.upstream.Close()
}

// forward answers a call with the server's answer.
func (p *TemporalProxy) forward(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, ok := grpc.Method(ctx)
	if !ok {
		return status.Error(codes.Internal, "the call has no method")
	}
	var request, answer []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	rule, lose := p.apply(path.Base(method))
	if lose {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if rule.rejection != nil {
		return rule.rejection
	}
	if header, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, header)
	}
	if err := p.upstream.Invoke(ctx, method, &request, &answer); err != nil {
		return err
	}
	if rule.delay > 0 {
		select {
		case <-time.After(rule.delay):
		case <-ctx.Done(): // an answer now could still reach a caller that is about to give up
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return stream.SendMsg(&answer)
}

// apply returns the rule for one call of a method, and whether this call is lost.
func (p *TemporalProxy) apply(method string) (rule callRule, lose bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := p.rules[method]
	if current == nil {
		return callRule{}, false
	}
	if current.losses != 0 {
		current.losses--
		current.lost++
		return callRule{}, true
	}
	return *current, false
}

// rawCodec leaves messages as the bytes that were received.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not a *[]byte", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*message)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not a *[]byte", v)
	}
	*message = data.Materialize()
	return nil
}
