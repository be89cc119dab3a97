package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/worker"

	"genesys-fanout/target"
)

// Tuner returns the tuner of the worker that serves a target's retry lane. It hands out as
// many activity slots as the target may get requests at the moment, and none while the target
// is held back. Because the SDK reserves a slot before each poll, the queue of a target that
// is held back is not polled, and its backlog stays in Temporal.
func (a *Activities) Tuner(t *target.Target) worker.WorkerTuner {
	return tuner{activities: &slotSupplier{hold: a.holds.of(t)}}
}

// tuner is the tuner of a worker that serves only activities.
type tuner struct{ activities *slotSupplier }

// GetActivityTaskSlotSupplier returns the only supplier that the worker uses.
func (t tuner) GetActivityTaskSlotSupplier() worker.SlotSupplier { return t.activities }

// GetWorkflowTaskSlotSupplier returns a supplier that is not used, because the worker serves no
// workflows.
func (t tuner) GetWorkflowTaskSlotSupplier() worker.SlotSupplier { return t.activities }

// GetLocalActivitySlotSupplier returns a supplier that is not used, because the worker
// serves no workflows.
func (t tuner) GetLocalActivitySlotSupplier() worker.SlotSupplier { return t.activities }

// GetNexusSlotSupplier returns a supplier that is not used, because the worker serves no Nexus
// operations.
func (t tuner) GetNexusSlotSupplier() worker.SlotSupplier { return t.activities }

// GetSessionActivitySlotSupplier returns a supplier that is not used, because the worker serves
// no sessions.
func (t tuner) GetSessionActivitySlotSupplier() worker.SlotSupplier { return t.activities }

// slotSupplier supplies the slots that the hold of one target allows.
type slotSupplier struct {
	hold *hold
}

// ReserveSlot waits until the target may get a request. The error is that of ctx.
func (s *slotSupplier) ReserveSlot(ctx context.Context, _ worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	for {
		ok, wait, changed := s.hold.reserve()
		if ok {
			return &worker.SlotPermit{}, nil
		}
		if err := await(ctx, wait, changed); err != nil {
			return nil, err
		}
	}
}

// TryReserveSlot never returns a slot. It serves eager activities, which FanOut never uses.
func (s *slotSupplier) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit { return nil }

// MarkSlotUsed does nothing, because a slot counts as used from its reservation.
func (s *slotSupplier) MarkSlotUsed(worker.SlotMarkUsedInfo) {}

// ReleaseSlot gives the slot back.
func (s *slotSupplier) ReleaseSlot(worker.SlotReleaseInfo) { s.hold.release() }

// MaxSlots returns the most slots that are ever handed out at a time.
func (s *slotSupplier) MaxSlots() int { return s.hold.max }

// await waits until d has passed, changed is closed or ctx is done. If d is 0, it never passes.
// If ctx is done, await returns the error of ctx.
func await(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer:
	case <-changed:
	}
	return nil
}
