package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// ProbedTopic is what is known of a topic.
type ProbedTopic struct {
	Name       string
	Err        error // kafka.Error: why it cannot be read
	Partitions int
	Leaderless int // partitions without a leader
	// Unreadable says that the brokers told which operations are allowed, and
	// reading is not one.
	Unreadable bool
}

// Unknown says that there is no such topic.
func (t ProbedTopic) Unknown() bool {
	var e kafka.Error
	return errors.As(t.Err, &e) && (e.Code() == kafka.ErrUnknownTopicOrPart || e.Code() == kafka.ErrUnknownTopic)
}

// Topics asks for topics by their names.
func (p *Probe) Topics(ctx context.Context, names []string) (topics []ProbedTopic, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		described, err := p.admin.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(names), kafka.SetAdminOptionIncludeAuthorizedOperations(true))
		if err != nil {
			return err
		}
		for _, d := range described.TopicDescriptions {
			topic := ProbedTopic{Name: d.Name, Partitions: len(d.Partitions), Unreadable: mayNotRead(d.AuthorizedOperations)}
			if d.Error.Code() != kafka.ErrNoError {
				topic.Err = d.Error
			}
			for _, partition := range d.Partitions {
				if partition.Leader == nil || partition.Leader.ID < 0 {
					topic.Leaderless++
				}
			}
			topics = append(topics, topic)
		}
		return nil
	})
	return topics, err
}

// mayNotRead is true where the brokers told what is allowed, and reading is not.
func mayNotRead(allowed []kafka.ACLOperation) bool {
	return len(allowed) > 0 && !slices.Contains(allowed, kafka.ACLOperationRead) && !slices.Contains(allowed, kafka.ACLOperationAll)
}

// Forever is the retention of a topic that drops nothing for its age.
const Forever = time.Duration(-1)

// Retention asks how long a topic keeps messages; Forever where it drops none for
// their age.
func (p *Probe) Retention(ctx context.Context, topic string) (retention time.Duration, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		results, err := p.admin.DescribeConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
		switch {
		case err != nil:
			return err
		case len(results) == 0:
			return errors.New("the answer is empty")
		case results[0].Error.Code() != kafka.ErrNoError:
			return results[0].Error
		}
		retention, err = retentionOf(results[0].Config)
		return err
	})
	return retention, err
}

func retentionOf(config map[string]kafka.ConfigEntryResult) (time.Duration, error) {
	if policy, ok := config["cleanup.policy"]; ok && !strings.Contains(policy.Value, "delete") {
		return Forever, nil
	}
	return milliseconds(config["retention.ms"].Value)
}

func milliseconds(text string) (time.Duration, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("retention.ms is %q", text)
	case n < 0, n > math.MaxInt64/int64(time.Millisecond):
		return Forever, nil
	}
	return time.Duration(n) * time.Millisecond, nil
}
