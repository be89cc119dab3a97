package devstack

import (
	"context"
	"fmt"

	"genesys-fanout/internal/await"
)

// awaitSuccess calls try again and again until try returns no error. It waits like await.Until, with
// the state that try returns. If the wait fails, the error contains the last error of try.
func awaitSuccess(ctx context.Context, what string, try func() (state any, err error)) error {
	var failure error
	err := await.Until(ctx, what, func() (any, bool) {
		var state any
		state, failure = try()
		return state, failure == nil
	})
	if err != nil && failure != nil {
		return fmt.Errorf("%w\nthe last attempt failed: %w", err, failure)
	}
	return err
}
