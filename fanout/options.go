package fanout

import (
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/event"
)

// StartOptions returns the options with which ingest starts FanOut for an event. eager asks Temporal
// for the run's first workflow task with the answer, so that ingest makes the first attempts
// itself. Starting an event twice fails with *serviceerror.WorkflowExecutionAlreadyStarted,
// whether its run is open or closed.
func StartOptions(in Input, taskQueue string, eager bool) client.StartWorkflowOptions {
	options := startOptions(in, taskQueue, map[string]any{MemoStartedBy: StartedByIngest})
	options.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	options.EnableEagerStart = eager
	return options
}

// ReplayOptions returns the options with which replay starts FanOut to send the dead letters
// of an event again. The run sends to the targets of the input that still have an open
// record when it begins. trackers maps each target to the identity of the tracker that is
// known to have its open record. If a run of the event is open, the start fails
// with *serviceerror.WorkflowExecutionAlreadyStarted.
func ReplayOptions(in Input, taskQueue string, trackers map[string]string) client.StartWorkflowOptions {
	memo := map[string]any{MemoStartedBy: StartedByReplay}
	if len(trackers) > 0 {
		memo[MemoTrackers] = trackers
	}
	options := startOptions(in, taskQueue, memo)
	options.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	options.WorkflowIDConflictPolicy = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	options.StaticSummary = Summarize("replay of " + options.StaticSummary)
	return options
}

// startOptions returns the options that all starts share. The strings of the event must not be
// cut, because each name and each summary cuts them itself.
func startOptions(in Input, taskQueue string, memo map[string]any) client.StartWorkflowOptions {
	memo[MemoEventHash] = in.Event.Hash()
	options := client.StartWorkflowOptions{
		ID:                                       WorkflowID(in.Event.ID),
		TaskQueue:                                taskQueue,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     memo,
		StaticSummary:                            summary(in.Event),
		StaticDetails:                            details(in),
	}
	if in.SearchAttributes {
		options.TypedSearchAttributes = SearchAttributes(in)
	}
	return options
}

// summary returns the line that Temporal UI shows beside the run.
func summary(e event.Event) string {
	line := event.Escape(e.Type)
	if e.ChannelType != "" {
		line += " · " + event.Escape(e.ChannelType)
	}
	return Summarize(line)
}

// details returns the text that Temporal UI shows of a run in addition to its summary.
func details(in Input) string {
	text := fmt.Sprintf("event `%s` of interaction `%s`\n\n", event.Escape(in.Event.ID), event.Escape(in.Event.InteractionID))
	if in.Event.InteractionID == "" {
		text = fmt.Sprintf("event `%s`\n\n", event.Escape(in.Event.ID))
	}
	return text + fmt.Sprintf("from Kafka topic `%s`, partition %d, offset %d", in.Source.Topic, in.Source.Partition, in.Source.Offset)
}
