package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/worker"

	"genesys-fanout/target"
)

// Tuner hands out the activity slots of a target's retry lane: as many as the target
// may have requests at the moment, and none while it is held back. Because the SDK
// reserves a slot before each poll, the queue of such a target is not polled, and
// its backlog stays in Temporal.
func (a *Activities) Tuner(t *target.Target) worker.WorkerTuner {
	return tuner{activities: &slotSupplier{hold: a.holds.of(t)}}
}

// tuner is for a worker that serves activities alone.
type tuner struct{ activities *slotSupplier }

// GetActivityTaskSlotSupplier is the only supplier that is asked.
func (t tuner) GetActivityTaskSlotSupplier() worker.SlotSupplier { return t.activities }

// GetWorkflowTaskSlotSupplier is not asked: the worker serves no workflows.
func (t tuner) GetWorkflowTaskSlotSupplier() worker.SlotSupplier { return t.activities }

// GetLocalActivitySlotSupplier is not asked: the worker serves no workflows.
func (t tuner) GetLocalActivitySlotSupplier() worker.SlotSupplier { return t.activities }

// GetNexusSlotSupplier is not asked: the worker serves no Nexus operations.
func (t tuner) GetNexusSlotSupplier() worker.SlotSupplier { return t.activities }

// GetSessionActivitySlotSupplier is not asked: the worker serves no sessions.
func (t tuner) GetSessionActivitySlotSupplier() worker.SlotSupplier { return t.activities }

// slotSupplier asks the hold of one target.
type slotSupplier struct {
	hold *hold
}

// ReserveSlot waits until the target may get a request.
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

// TryReserveSlot serves eager activities, which FanOut never asks for.
func (s *slotSupplier) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit { return nil }

// MarkSlotUsed has nothing to do: a slot counts from its reservation.
func (s *slotSupplier) MarkSlotUsed(worker.SlotMarkUsedInfo) {}

// ReleaseSlot gives the slot back.
func (s *slotSupplier) ReleaseSlot(worker.SlotReleaseInfo) { s.hold.release() }

// MaxSlots is the most that is ever handed out.
func (s *slotSupplier) MaxSlots() int { return s.hold.max }

// await waits until d has passed (0: never), changed is closed, or ctx is done, whose
// error it returns.
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
