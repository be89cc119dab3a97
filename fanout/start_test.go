package fanout

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
)

func TestStart_ContentErrorOnlyIfEveryStartWouldBeRejected(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{serviceerror.NewInvalidArgument("blob too large"), true},
		{&serviceerror.ResourceExhausted{Message: "grpc: received message larger than max (5 vs. 4)"}, true},
		{&serviceerror.ResourceExhausted{Message: "busy, says a proxy"}, false},
		{serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, "busy"), false},
		{serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED, "busy"), false},
		{serviceerror.NewUnavailable("away"), false},
		{serviceerror.NewNamespaceNotFound("default"), false},
		{serviceerror.NewPermissionDenied("no", ""), false},
		{serviceerror.NewDeadlineExceeded("late"), false},
	} {
		assert.Equal(t, test.want, rejectedForContent(test.err), "%T: %v", test.err, test.err)
	}
}
