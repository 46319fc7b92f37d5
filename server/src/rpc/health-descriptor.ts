import { create, toBinary } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';

const PACKAGE = 'grpc.health.v1';
const REQUEST = `.${PACKAGE}.HealthCheckRequest`;
const RESPONSE = `.${PACKAGE}.HealthCheckResponse`;

/**
 * The descriptor of the standard `grpc/health/v1/health.proto`, for reflection: `buf curl` can then ask for the health,
 * too. Built here because the proto is not ours to publish, and the package that serves it brings no descriptor.
 */
export function healthDescriptorSet(): Uint8Array {
  const file = create(FileDescriptorProtoSchema, {
    name: 'grpc/health/v1/health.proto',
    package: PACKAGE,
    syntax: 'proto3',
    messageType: [
      { name: 'HealthCheckRequest', field: [field('service', FieldDescriptorProto_Type.STRING)] },
      {
        name: 'HealthCheckResponse',
        field: [field('status', FieldDescriptorProto_Type.ENUM, `${RESPONSE}.ServingStatus`)],
        enumType: [{ name: 'ServingStatus', value: ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'].map(toEnumValue) }],
      },
    ],
    service: [
      {
        name: 'Health',
        method: [
          { name: 'Check', inputType: REQUEST, outputType: RESPONSE },
          { name: 'Watch', inputType: REQUEST, outputType: RESPONSE, serverStreaming: true },
        ],
      },
    ],
  });
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] }));
}

function field(name: string, type: FieldDescriptorProto_Type, typeName?: string) {
  const label = FieldDescriptorProto_Label.OPTIONAL;
  return { name, jsonName: name, number: 1, label, type, ...(typeName !== undefined && { typeName }) };
}

function toEnumValue(name: string, number: number) {
  return { name, number };
}
