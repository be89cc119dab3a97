package devstack

import (
	"context"
	"fmt"
	"path"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TemporalProxy stands between a process and a Temporal server. It passes every
// call on, until a test makes it refuse some or fall silent.
type TemporalProxy struct {
	gate     *gate
	server   *grpc.Server
	upstream *grpc.ClientConn

	mu      sync.Mutex
	refused map[string]error // by the method's name
}

// StartTemporalProxy serves on a free port what the frontend at address answers.
func StartTemporalProxy(ctx context.Context, address string) (*TemporalProxy, error) {
	upstream, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(frames{}), grpc.MaxCallRecvMsgSize(maxFrame)))
	if err != nil {
		return nil, err
	}
	gate, err := newGate(ctx, 0)
	if err != nil {
		_ = upstream.Close()
		return nil, err
	}
	p := &TemporalProxy{gate: gate, upstream: upstream, refused: make(map[string]error)}
	p.server = grpc.NewServer(grpc.ForceServerCodecV2(frames{}), grpc.MaxRecvMsgSize(maxFrame), grpc.UnknownServiceHandler(p.pass))
	go func() { _ = p.server.Serve(gate) }()
	return p, nil
}

// maxFrame is larger than any message that the frontend takes.
const maxFrame = 64 << 20

// Address is the proxy's host:port, as for TEMPORAL_ADDRESS.
func (p *TemporalProxy) Address() string { return p.gate.Addr().String() }

// Reject makes the proxy answer calls of a method, as "PollWorkflowTaskQueue",
// with an error of its own. codes.OK ends that.
func (p *TemporalProxy) Reject(method string, code codes.Code, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[method] = status.Error(code, message)
}

// Silence keeps every connection open, and passes nothing on: neither what is
// sent from here on nor what is under way. New connections are accepted.
func (p *TemporalProxy) Silence() { p.gate.silence() }

// EndSilence ends a silence. What was sent meanwhile arrives.
func (p *TemporalProxy) EndSilence() { p.gate.speak() }

// Close ends the proxy and its connections.
func (p *TemporalProxy) Close() {
	_ = p.gate.Close()
	p.server.Stop()
	_ = p.upstream.Close()
}

// pass answers a call with what the server answers.
func (p *TemporalProxy) pass(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, ok := grpc.Method(ctx)
	if !ok {
		return status.Error(codes.Internal, "a call without a method")
	}
	var request, answer []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if err := p.refusal(path.Base(method)); err != nil {
		return err
	}
	if header, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, header)
	}
	if err := p.upstream.Invoke(ctx, method, &request, &answer); err != nil {
		return err
	}
	return stream.SendMsg(&answer)
}

func (p *TemporalProxy) refusal(method string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[method]
}

// frames passes messages on as they came.
type frames struct{}

func (frames) Name() string { return "proto" }

func (frames) Marshal(v any) (mem.BufferSlice, error) {
	frame, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no frame", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*frame)}, nil
}

func (frames) Unmarshal(data mem.BufferSlice, v any) error {
	frame, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no frame", v)
	}
	*frame = data.Materialize()
	return nil
}
