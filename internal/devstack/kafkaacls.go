package devstack

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin is the superuser of a broker with KafkaOptions.ACLs, as which this package
// speaks with it.
const admin = "admin"

// acl is a rule for the one user.
type acl struct {
	kind      kmsg.ACLResourceType
	name      string
	operation kmsg.ACLOperation
	allow     bool
}

// allowEverything lets the user read and write whatever is not denied.
func (k *Kafka) allowEverything(ctx context.Context) error {
	for _, kind := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup} {
		if err := k.createACL(ctx, acl{kind, "*", kmsg.ACLOperationAll, true}); err != nil {
			return err
		}
	}
	return nil
}

// DenyRead takes the right to read a topic from the user; it may still describe it.
// It takes KafkaOptions.ACLs.
func (k *Kafka) DenyRead(ctx context.Context, topic string) error {
	return k.createACL(ctx, acl{kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationRead, false})
}

func (k *Kafka) createACL(ctx context.Context, rule acl) error {
	one := kmsg.NewCreateACLsRequestCreation()
	one.ResourceType, one.ResourceName, one.ResourcePatternType = rule.kind, rule.name, kmsg.ACLResourcePatternTypeLiteral
	one.Principal, one.Host, one.Operation = "User:"+k.options.Username, "*", rule.operation
	one.PermissionType = kmsg.ACLPermissionTypeDeny
	if rule.allow {
		one.PermissionType = kmsg.ACLPermissionTypeAllow
	}
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = append(req.Creations, one)
	resp, err := request[*kmsg.CreateACLsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("create an ACL for %s: %w", rule.name, err)
		}
	}
	return nil
}

// AllowRead ends what DenyRead began.
func (k *Kafka) AllowRead(ctx context.Context, topic string) error {
	one := kmsg.NewDeleteACLsRequestFilter()
	one.ResourceType, one.ResourceName, one.ResourcePatternType = kmsg.ACLResourceTypeTopic, new(topic), kmsg.ACLResourcePatternTypeLiteral
	one.Operation, one.PermissionType = kmsg.ACLOperationRead, kmsg.ACLPermissionTypeDeny
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = append(req.Filters, one)
	resp, err := request[*kmsg.DeleteACLsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("delete the ACL for %s: %w", topic, err)
		}
	}
	return nil
}
