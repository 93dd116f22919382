// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// Sends one request to the control API with the management client of AWS's SDK, and prints the result as JSON.
//
//   node aws.mjs ENDPOINT get|post|delete ID [DATA]

import {
    ApiGatewayManagementApiClient, DeleteConnectionCommand, GetConnectionCommand, GoneException, PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';

const [endpoint, verb, ConnectionId, Data] = process.argv.slice(2);
const client = new ApiGatewayManagementApiClient({
    endpoint, region: 'us-east-1', maxAttempts: 1, credentials: {accessKeyId: 'any', secretAccessKey: 'any'},
});
const commands = {
    get: () => new GetConnectionCommand({ConnectionId}),
    post: () => new PostToConnectionCommand({ConnectionId, Data}),
    delete: () => new DeleteConnectionCommand({ConnectionId}),
};
try {
    const {$metadata, ...answer} = await client.send(commands[verb]());
    console.log(JSON.stringify({status: $metadata.httpStatusCode, ...answer}));
} catch (error) {
    console.log(JSON.stringify({
        status: error.$metadata?.httpStatusCode, name: error.name, message: error.message, gone: error instanceof GoneException,
    }));
}
