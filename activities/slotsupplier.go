package activities

import (
	"context"

	"go.temporal.io/sdk/worker"

	"genesys-fanout/target"
)

// Tuner returns the tuner of the worker that serves a target's retry lane. A slot is the right to
// poll for one task and to execute it. The tuner supplies as many slots as the target may get
// requests at the moment. While the target is blocked,
// it supplies none, except for a probe. Because the SDK reserves a slot before each poll, the
// queue of a blocked target is not polled, and its backlog stays in Temporal.
func (a *Activities) Tuner(t *target.Target) worker.WorkerTuner {
	return tuner{activities: &slotSupplier{admission: a.admissions.of(t)}}
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

// slotSupplier supplies as many slots as the admission of one target allows.
type slotSupplier struct {
	admission *admission
}

// ReserveSlot waits until the target may get a request. The error is that of ctx.
func (s *slotSupplier) ReserveSlot(ctx context.Context, _ worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	for {
		ok, delay, changed := s.admission.reserveSlot()
		if ok {
			return &worker.SlotPermit{}, nil
		}
		if err := wait(ctx, delay, changed); err != nil {
			return nil, err
		}
	}
}

// TryReserveSlot never returns a slot. The SDK calls it for eager activities, which
// FanOut never uses.
func (s *slotSupplier) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit { return nil }

// MarkSlotUsed does nothing, because a slot counts as used from its reservation.
func (s *slotSupplier) MarkSlotUsed(worker.SlotMarkUsedInfo) {}

// ReleaseSlot releases a slot that ReserveSlot reserved.
func (s *slotSupplier) ReleaseSlot(worker.SlotReleaseInfo) { s.admission.releaseSlot() }

// MaxSlots returns the most slots that are ever reserved at a time.
func (s *slotSupplier) MaxSlots() int { return s.admission.maxInFlight }
